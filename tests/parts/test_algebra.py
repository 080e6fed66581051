"""Soft prompts and prefixes put together (issue: averaged, concatenated, interpolated, started from another)."""

from typing import Any

import pytest
import torch
from tests.lm.rows import row

from promptatlas.errors import CannotAttach, SettingError
from promptatlas.lm.ask import Job, Vocabulary
from promptatlas.parts.algebra import averaged, concatenated, interpolated, started
from promptatlas.parts.prefix import Prefix, normal, of_tokens
from promptatlas.parts.vectors import Vectors, of_text, vocabulary
from promptatlas.testing import check_part
from promptatlas.testing.same import same
from promptatlas.testing.tiny import tiny

A, B = Vectors(torch.tensor([[1.0, 2.0], [3.0, 4.0]])), Vectors(torch.tensor([[5.0, 0.0], [1.0, 8.0]]))


def test_by_hand() -> None:
    assert concatenated([A, B]).weight.tolist() == [[1, 2], [3, 4], [5, 0], [1, 8]]
    assert averaged([A, B]).weight.tolist() == [[3, 1], [2, 6]]
    assert averaged([A, B], [3.0, 1.0]).weight.tolist() == [[2, 1.5], [2.5, 5]]
    assert interpolated(A, B, 0.25).weight.tolist() == [[2, 1.5], [2.5, 5]]
    assert interpolated(A, B, 2.0).weight.tolist() == [[9, -2], [-1, 12]]
    assert interpolated(A, B, 0.0).weight.tolist() == A.weight.tolist()
    assert A.weight.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize("name", ["gpt2", "bert", "t5", "llama"])
def test_prefixes_too_at_every_place(name: str) -> None:
    lm = tiny(name)
    one, other = normal(lm, 2, seed=0), normal(lm, 2, seed=1)
    for place in one.places:
        a, b = one.tensors()[place], other.tensors()[place]
        torch.testing.assert_close(concatenated([one, other]).tensors()[place], torch.cat([a, b], 3))
        torch.testing.assert_close(averaged([one, other]).tensors()[place], (a + b) / 2)
        torch.testing.assert_close(interpolated(one, other, 0.1).tensors()[place], 0.9 * a + 0.1 * b)
    check_part(lambda lm: concatenated([one, normal(lm, 3, seed=2)]), lm)


def read(lm: Any, parts: dict[str, Any], template: str) -> torch.Tensor:
    return lm.read([Job(row(lm, template, parts), (Vocabulary(),), parts)])[0][0].values


def test_two_texts_vectors_are_the_vectors_of_both() -> None:
    lm = tiny("bert")
    both = concatenated([of_text(lm, "the cat"), of_text(lm, "sat on")])
    same(read(lm, {"x": both}, "{@x} a {mask}"), read(lm, {"x": of_text(lm, "the cat sat on")}, "{@x} a {mask}"), "x")


def test_a_prefix_of_tokens_goes_on_as_what_a_layer_saw_of_them_alone() -> None:
    """The second text's keys and values are those it has at the front: no sum of parts is a text's prefix."""
    lm = tiny("gpt2")
    one, other, both = of_tokens(lm, (7, 8)), of_tokens(lm, (9,)), of_tokens(lm, (7, 8, 9))
    joined = concatenated([one, other]).tensors()["self"]
    same(joined[..., :2, :], both.tensors()["self"][..., :2, :], "the first")
    assert float((joined[..., 2:, :] - both.tensors()["self"][..., 2:, :]).abs().max()) > 1e-3
    assert concatenated([one, other]).shift == 3


@pytest.mark.parametrize("name", ["gpt2", "t5"])
def test_a_part_starts_another(name: str) -> None:
    lm = tiny(name)
    for part in (vocabulary(lm, 3, seed=0), normal(lm, 3, seed=0, positions="shifted")):
        for length in (0, 2, 3):
            cut = started(part, lm, length=length, seed=0)
            assert cut.length == length
            for tensor, whole in zip(cut.tensors().values(), part.tensors().values(), strict=True):
                assert torch.equal(tensor, whole[..., :length, :])
        longer = started(part, lm, length=5, seed=0)
        assert longer.length == 5
        for tensor, whole in zip(longer.tensors().values(), part.tensors().values(), strict=True):
            assert torch.equal(tensor[..., :3, :], whole)
        again, other = (started(part, lm, length=5, seed=seed).tensors() for seed in (0, 1))
        assert all(torch.equal(again[key], tensor) for key, tensor in longer.tensors().items())
        assert any(not torch.equal(other[key], tensor) for key, tensor in longer.tensors().items())
        assert longer.config() == part.config()


def test_says_what_does_not_go_together() -> None:
    with pytest.raises(SettingError) as caught:
        averaged([A, Vectors(torch.zeros(3, 2))])
    assert str(caught.value) == (
        "part 1 doesn't go with part 0: vectors of weight (3, 2) and vectors of weight (2, 2)\n\n"
        "hint: parts of one kind, learned on one model, of one length"
    )
    with pytest.raises(SettingError, match=r"vectors of weight \(3,\) and vectors of weight \(2,\)"):
        concatenated([A, Vectors(torch.zeros(2, 3))])
    with pytest.raises(SettingError, match="there are no parts"):
        concatenated([])
    with pytest.raises(SettingError, match="there are no parts"):
        averaged([])
    with pytest.raises(SettingError, match="3 weights for 2 parts"):
        averaged([A, B], [1.0, 2.0, 3.0])
    with pytest.raises(SettingError, match="not summing to 0"):
        averaged([A, B], [1.0, -1.0])
    lm = tiny("gpt2")
    with pytest.raises(SettingError, match=r"prefix, shifted of .* and prefix, unshifted of"):
        concatenated([normal(lm, 1, seed=0), normal(lm, 1, seed=0, positions="shifted")])
    with pytest.raises(SettingError, match="can't have -1 positions"):
        started(A, lm, length=-1, seed=0)
    with pytest.raises(CannotAttach, match="whose are 32 wide"):
        started(A, lm, length=3, seed=0)
    with pytest.raises(CannotAttach, match="doesn't fit tiny-gpt2"):
        started(Prefix({"self": torch.zeros(1, 2, 4, 2, 8)}), lm, length=3, seed=0)
    with pytest.raises(SettingError, match="no room for text"):
        started(normal(lm, 1, seed=0, positions="shifted"), lm, length=lm.window, seed=0)
