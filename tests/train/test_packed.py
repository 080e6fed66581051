from pathlib import Path

import numpy as np
import pytest
import torch

from promptatlas.data.corpus import chance
from promptatlas.errors import DataError
from promptatlas.lm.local import LocalLM
from promptatlas.testing.tiny import tiny
from promptatlas.train import packed as module
from promptatlas.train.packed import Packed, Windows, packed

TEXTS = tuple(f"the cat {'sat ' * (at % 4)}on the hill and the dog ran {at}" for at in range(60))


def pack(folder: Path, texts: tuple[str, ...] = TEXTS, name: str = "roberta", **more: object) -> Packed:
    return packed(tiny(name), iter(texts), folder, **{"key": "a", "held": 0.25, **more})


def tokens(path: Path) -> list[int]:
    return np.fromfile(path, path.suffix[1:]).tolist()


def joined(lm: LocalLM, texts: list[str]) -> list[int]:
    return [i for text in texts for i in (*lm.tokens(text), *lm.tokenizer.sep)]


def windows(path: Path, ids: list[int], length: int) -> Windows:
    np.array(ids, dtype=path.suffix[1:]).tofile(path)
    return Windows(path, length)


@pytest.mark.parametrize("name", ["bert", "gpt2", "llama", "t5"])
@pytest.mark.parametrize("held", [0.0, 0.3])
def test_every_document_is_there_once_in_order_and_separated(name: str, held: float, tmp_path: Path) -> None:
    lm, found = tiny(name), pack(tmp_path / "x", name=name, held=held)
    aside = [text for text in TEXTS if chance(text, "held") < held]
    assert tokens(found.train) == joined(lm, [text for text in TEXTS if text not in aside])
    assert tokens(found.held) == joined(lm, aside)
    assert bool(aside) is bool(held)
    assert lm.tokenizer.sep
    assert found.figures == {
        "documents": 60,
        "tokens": len(tokens(found.train)),
        "held_tokens": len(tokens(found.held)),
        "left_out": 0,
    }


def test_what_is_held_out_the_text_alone_decides(tmp_path: Path) -> None:
    lm, aside = tiny("roberta"), [text for text in TEXTS if chance(text, "held") < 0.25]
    assert tokens(pack(tmp_path / "a").held) == joined(lm, aside)
    assert tokens(pack(tmp_path / "b", TEXTS[::-1]).held) == joined(lm, aside[::-1])
    more = [text for text in TEXTS if chance(text, "held") < 0.5]
    assert tokens(pack(tmp_path / "c", held=0.5).held) == joined(lm, more)
    assert set(aside) < set(more)


def test_the_same_key_is_not_packed_again(tmp_path: Path) -> None:
    first = pack(tmp_path / "x")
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "x").iterdir()}
    texts = iter(TEXTS)
    assert packed(tiny("roberta"), texts, tmp_path / "x", key="a", held=0.25) == first
    assert next(texts) == TEXTS[0]  # not even looked at
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "x").iterdir()} == before


@pytest.mark.parametrize("change", [{"name": "bert"}, {"held": 0.5}, {"key": "b"}], ids=str)
def test_another_tokenizer_share_or_key_is_packed_anew(change: dict[str, object], tmp_path: Path) -> None:
    first = tokens(pack(tmp_path / "x").train)
    found = pack(tmp_path / "x", TEXTS[:40], **change)
    assert found.figures["documents"] == 40
    assert tokens(found.train) != first
    assert len(list((tmp_path / "x").iterdir())) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_documents_of_a_container_are_left_out(tmp_path: Path) -> None:
    class Even:
        def __contains__(self, text: str) -> bool:
            return int(text.split()[-1]) % 2 == 0

    found = pack(tmp_path / "x", without=Even(), held=0.0)
    assert (found.figures["documents"], found.figures["left_out"]) == (30, 30)
    assert tokens(found.train) == joined(tiny("roberta"), list(TEXTS[1::2]))
    assert pack(tmp_path / "y", without=TEXTS[:7]).figures["left_out"] == 7


@pytest.mark.parametrize("texts", [(), TEXTS[:3]])
def test_without_text_to_learn_from_there_is_nothing_to_do(texts: tuple[str, ...], tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(DataError) as caught:
            pack(tmp_path / "x", texts, without=TEXTS[:3])
        assert str(caught.value) == "there is no text to learn from\n\nhint: documents are separated by blank lines"


def test_an_error_in_the_text_leaves_nothing_that_looks_whole(tmp_path: Path) -> None:
    def broken() -> object:
        yield from TEXTS
        raise DataError("line 61")

    with pytest.raises(DataError, match="line 61"):
        packed(tiny("roberta"), broken(), tmp_path / "x", key="a", held=0.25)
    assert list(tmp_path.iterdir()) == []
    assert pack(tmp_path / "x").figures["documents"] == 60


def test_a_large_vocabulary_takes_more_bytes_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = pack(tmp_path / "x")
    lm = tiny("roberta")
    monkeypatch.setitem(vars(lm), "vectors", torch.empty(1, 1).expand((1 << 16) + 1, 1))
    large = pack(tmp_path / "y")
    assert (small.train.suffix, large.train.suffix) == (".uint16", ".uint32")
    assert tokens(small.train) == tokens(large.train)
    assert large.train.stat().st_size == 2 * small.train.stat().st_size
    monkeypatch.setattr(module, "tokenised", lambda lm, texts: (np.array([70_000]) for _ in texts))
    assert tokens(pack(tmp_path / "z", held=0.0).train)[0] == 70_000


def test_the_files_of_a_small_vocabulary_do_not_do_for_a_large_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same tokenizer under a model whose table was padded."""
    pack(tmp_path / "x")
    monkeypatch.setitem(vars(tiny("roberta")), "vectors", torch.empty(1, 1).expand((1 << 16) + 1, 1))
    found = pack(tmp_path / "x")
    assert found.train.is_file()
    assert len(Windows(found.train, 10)) > 0


def test_windows_are_the_tokens_in_order_and_what_is_left_is_dropped(tmp_path: Path) -> None:
    found = windows(tmp_path / "a.uint16", list(range(23)), 5)
    assert len(found) == 4
    assert [one.ids for one in found] == [tuple(range(at, at + 5)) for at in (0, 5, 10, 15)]
    assert [one.key for one in found] == ["0", "1", "2", "3"]
    assert all(type(one) is int for one in found[0].ids)
    for at in (4, -1, 100):
        with pytest.raises(IndexError):
            found[at]


@pytest.mark.parametrize("ids", [[], [1, 2, 3]])
def test_a_file_shorter_than_a_window_has_none(ids: list[int], tmp_path: Path) -> None:
    found = windows(tmp_path / "a.uint32", ids, 5)
    assert len(found) == 0
    assert list(found) == []


def test_a_key_is_of_tokens_and_length(tmp_path: Path) -> None:
    first = windows(tmp_path / "a.uint16", [1, 2, 3, 4], 2).key()
    assert windows(tmp_path / "b.uint16", [1, 2, 3, 4], 2).key() == first
    assert windows(tmp_path / "c.uint16", [1, 2, 3, 5], 2).key() != first
    assert windows(tmp_path / "d.uint16", [1, 2, 3, 4], 4).key() != first
