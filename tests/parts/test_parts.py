from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from promptatlas.lm.local import LocalLM
from promptatlas.parts.adapters import adapters
from promptatlas.parts.head import Head, LabelVectors, head
from promptatlas.parts.prefix import Prefix, normal
from promptatlas.parts.scale import scale
from promptatlas.parts.tokens import Tokens
from promptatlas.parts.vectors import Vectors, of_text, vocabulary
from promptatlas.parts.weights import biases, full, lora, norms
from promptatlas.testing import check_part
from promptatlas.testing.tiny import names, tiny

Make = Callable[[Any], Any]
PARTS: dict[str, tuple[Make, Make | None]] = {
    "vectors": (lambda lm: vocabulary(lm, 3, seed=0), lambda lm: vocabulary(lm, 0, seed=0)),
    "tokens": (lambda lm: Tokens(lm.tokens("the cat")), lambda lm: Tokens(())),
    "prefix": (lambda lm: normal(lm, 3, seed=0), lambda lm: normal(lm, 0, seed=0)),
    "full": (full, None),
    "biases": (biases, None),
    "norms": (norms, None),
    "scale": (scale, None),
    "adapters": (lambda lm: adapters(lm, width=4, seed=0, scale=0.1), None),
    "adapters by layer": (lambda lm: adapters(lm, width=4, seed=0, scale=0.1, places=("layer",)), None),
    "lora": (lambda lm: lora(lm, rank=2), None),
    "head": (lambda lm: head(lm, 3, seed=0), None),
    "label_vectors": (lambda lm: LabelVectors(lm.outputs[:3], torch.zeros(3)), None),
}
UNFIT = {
    ("prefix", "deberta-v2"),
    ("biases", "llama"),
    ("biases", "t5"),
    ("biases", "modernbert"),
}  # no way in; no bias
FIT = [(part, name) for part in PARTS for name in names() if (part, name) not in UNFIT]


@pytest.mark.parametrize(("part", "name"), FIT)
def test_every_part_keeps_the_contract_on_every_family(part: str, name: str) -> None:
    make, empty = PARTS[part]
    check_part(make, tiny(name), empty=empty)


def test_nothing_is_left_out() -> None:
    assert len(FIT) == 12 * 11 - 4


class Deaf(Vectors):
    """No gradient reaches it."""

    def vectors(self, lm: Any, rows: Any) -> Any:
        return self.weight.detach()


class Forgetful(Vectors):
    """Loses a vector when it is saved."""

    def tensors(self) -> Any:
        return {"weight": self.weight.detach()[:-1]}


class Changing(Vectors):
    """Writes to the model."""

    def vectors(self, lm: LocalLM, rows: Any) -> Any:
        next(iter(lm.parameters.values())).data.add_(1e-6)
        return self.weight


@pytest.mark.parametrize(
    ("cls", "sentence"),
    [
        (Deaf, "no gradient reaches the part `vectors`|does not require grad"),
        (Forgetful, "the part `vectors` saved and built has other tensors"),
        (Changing, "the part `vectors` saved and built scores differently|changed the model"),
    ],
)
def test_a_part_that_breaks_the_contract_is_told(cls: Any, sentence: str) -> None:
    from_scratch = _own("gpt2")
    with pytest.raises((AssertionError, RuntimeError), match=sentence):
        check_part(lambda lm: cls(lm.vectors[5:8]), from_scratch)


def _own(name: str) -> LocalLM:
    """A model of this test's own: what spoils it spoils no other."""
    return tiny.__wrapped__(name)


def test_a_part_that_is_not_its_own_when_empty_is_told() -> None:
    with pytest.raises(AssertionError, match="of length 0 makes a difference"):
        check_part(lambda lm: vocabulary(lm, 2, seed=0), tiny("bert"), empty=lambda lm: vocabulary(lm, 1, seed=0))


def test_parts_are_copies() -> None:
    lm = tiny("bert")
    for part in (Vectors(lm.vectors[:2]), full(lm), of_text(lm, "the cat")):
        with torch.no_grad():
            next(part.parameters()).add_(1)
    assert torch.equal(tiny.__wrapped__("bert").vectors, lm.vectors)


def test_parameters_by_hand() -> None:
    """P-tuning v2 with 2 layers, width 8, 3 positions and 2 labels: 96 and 18."""
    prefix = Prefix({"self": torch.zeros(2, 2, 2, 3, 4)})
    classifier = Head(torch.zeros(2, 8), torch.zeros(2))
    assert [sum(one.numel() for one in part.parameters()) for part in (prefix, classifier)] == [96, 18]
    assert prefix.length == 3


@pytest.mark.parametrize(
    ("name", "numbers"), [("bert", 384), ("llama", 192), ("albert", 384), ("t5", 1152), ("bart", 1152)]
)
def test_a_prefix_is_as_large_as_the_models_keys(name: str, numbers: int) -> None:
    part = normal(tiny(name), 3, seed=0)  # 2 layers · 2 · heads · 3 · 8, at each of three places in a seq2seq model
    assert sum(one.numel() for one in part.parameters()) == numbers


def test_heads_start_as_told() -> None:
    lm = tiny("bert")
    one = head(lm, 3, seed=0, scale=0.02, layers=2)
    assert one.weight.shape == (3, 64)
    assert float(one.bias.detach().abs().sum()) == 0
    assert float(one.weight.detach().std()) == pytest.approx(0.02, rel=0.2)
    assert torch.equal(head(lm, 3, seed=0).weight, head(lm, 3, seed=0).weight)
    assert not torch.equal(head(lm, 3, seed=0).weight, head(lm, 3, seed=1).weight)
    states = torch.randn(5, 64, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(one(states), nn.functional.linear(states, one.weight, one.bias))


def test_lora_starts_at_nothing_and_is_the_seeds_own() -> None:
    lm = tiny("bert")
    first, again, other = (lora(lm, rank=2, seed=seed) for seed in (0, 0, 1))
    assert all(float(one.detach().abs().sum()) == 0 for one in first.up)
    assert torch.equal(first.down[0], again.down[0])
    assert not torch.equal(first.down[0], other.down[0])
    assert sum(one.numel() for one in first.parameters()) == 2 * 2 * (2 * 32 + 2 * 32)  # 2 layers · 2 places
