import torch

from promptatlas.lm.kept import Kept


def put(kept: Kept, name: str, tokens: int) -> None:
    kept.put(name, name, [torch.zeros(1, tokens, 1), torch.zeros(1, tokens, 1)], None)  # 8 bytes a token


def test_the_least_recently_used_leaves_first() -> None:
    kept = Kept(80)
    for name in "ab":
        put(kept, name, 5)
    assert kept.get("a") is not None
    put(kept, "c", 5)
    assert kept.get("b") is None
    assert kept.get("a") is not None
    assert kept.bytes == 80


def test_what_does_not_fit_is_not_kept() -> None:
    kept = Kept(80)
    put(kept, "a", 5)
    put(kept, "b", 11)
    assert len(kept) == 1
    nothing = Kept(0)
    put(nothing, "a", 1)
    assert nothing.get("a") is None


def test_the_same_again_takes_its_place() -> None:
    kept = Kept(80)
    put(kept, "a", 5)
    put(kept, "a", 3)
    assert (len(kept), kept.bytes) == (1, 24)
    kept.clear()
    assert (len(kept), kept.bytes) == (0, 0)
