import torch

from promptatlas.lm.kept import Kept


def layers(length: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [(torch.zeros(1, length, 1), torch.zeros(1, length, 1))]  # 8 bytes a token


def test_the_least_recently_used_leaves_first() -> None:
    kept = Kept(80)
    for name in "ab":
        kept.put(name, layers(5), None)
    assert kept.get("a") is not None
    kept.put("c", layers(5), None)
    assert kept.get("b") is None
    assert kept.get("a") is not None
    assert kept.bytes == 80


def test_what_does_not_fit_is_not_kept() -> None:
    kept = Kept(80)
    kept.put("a", layers(5), None)
    kept.put("b", layers(11), None)
    assert len(kept) == 1
    Kept(0).put("a", layers(1), None)


def test_the_same_again_takes_its_place() -> None:
    kept = Kept(80)
    kept.put("a", layers(5), None)
    kept.put("a", layers(3), None)
    assert (len(kept), kept.bytes) == (1, 24)
    kept.clear()
    assert (len(kept), kept.bytes) == (0, 0)
