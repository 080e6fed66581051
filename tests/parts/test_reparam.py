"""A prefix behind an MLP (sheets 15 and 47) and vectors behind an LSTM (sheet 21)."""

from typing import Any

import pytest
import torch
from tests.lm.rows import row
from torch import nn

from promptatlas.errors import CannotAttach, SettingError
from promptatlas.lm.ask import Job, Vocabulary
from promptatlas.parts.prefix import Prefix, normal, of_tokens
from promptatlas.parts.reparam import Encoded, Encoder, MLPPrefix, encoded, fitted, mlp_prefix
from promptatlas.testing import check_part
from promptatlas.testing.same import same
from promptatlas.testing.tiny import names, tiny

WITH = [name for name in names() if name != "deberta-v2"]


def count(part: nn.Module) -> int:
    return sum(one.numel() for one in part.parameters())


def read(lm: Any, parts: dict[str, Any], template: str = "the cat It was {mask}") -> torch.Tensor:
    return lm.read([Job(row(lm, template, parts), (Vocabulary(),), parts)])[0][0].values


@pytest.mark.parametrize("name", WITH)
def test_an_mlp_prefix_keeps_the_contract(name: str) -> None:
    check_part(
        lambda lm: mlp_prefix(lm, 3, mid=4, seed=0), tiny(name), empty=lambda lm: mlp_prefix(lm, 0, mid=4, seed=0)
    )


@pytest.mark.parametrize("kind", ["lstm", "wide_lstm", "mlp"])
@pytest.mark.parametrize("name", names())
def test_encoded_vectors_keep_the_contract(name: str, kind: Any) -> None:
    check_part(lambda lm: encoded(lm, kind, {"a": 2, "b": 3}, seed=0)["b"], tiny(name))


def test_parameters_by_hand() -> None:
    """Sheet 47: n·d + (d·m + m) + (m·2Ld + 2Ld) = 24 + 36 + 160. Sheet 15: GPT-2 medium, m = 5."""
    assert count(MLPPrefix({"self": (2, 2, 4)}, length=3, width=8, mid=4)) == 24 + 36 + 160
    with torch.device("meta"):
        medium = MLPPrefix({"self": (24, 16, 64)}, length=5, width=1024, mid=512)
    assert count(medium) == 25_744_896
    assert 5 * 24 * 2 * 16 * 64 == 245_760  # what is kept of it
    for kind, numbers in (("lstm", 12 + 256 + 40), ("wide_lstm", 12 + 768 + 56), ("mlp", 12 + 40)):
        assert count(Encoder(kind, length=3, width=4)) == numbers  # type: ignore[arg-type]


def test_columns_are_layers_then_keys_and_values_then_heads() -> None:
    part = MLPPrefix({"self": (2, 3, 2)}, length=2, width=2, mid=2)
    with torch.no_grad():
        part.mlps["self"][2].weight.zero_()
        part.mlps["self"][2].bias.copy_(torch.arange(24.0))
    made = part.places()["self"]
    assert made.shape == (2, 2, 3, 2, 2)
    assert made[1, 0, 2, 0].tolist() == [16, 17]  # layer 1, keys, head 2: (1·2 + 0)·6 + 2·2
    by_hand = part.tables["self"] @ part.mlps["self"][0].weight.T + part.mlps["self"][0].bias
    torch.testing.assert_close(part.mlps["self"][:2](part.tables["self"]), by_hand.tanh())


@pytest.mark.parametrize("name", ["bert", "gpt2", "llama", "t5"])
def test_what_is_kept_reads_the_same(name: str) -> None:
    lm = tiny(name)
    part = mlp_prefix(lm, 3, mid=4, seed=0, positions="shifted", dropout=0.5).eval()
    same(read(lm, {"prefix": part.flat()}), read(lm, {"prefix": part}), name)
    assert part.flat().positions == "shifted"
    assert "dropout" not in part.flat().config()
    parts = encoded(lm, "lstm", {"a": 2, "b": 1}, seed=0)
    template = "{@a} the cat {@b} It was {mask}"
    same(read(lm, {key: one.flat() for key, one in parts.items()}, template), read(lm, parts, template), name)
    assert parts["a"].flat().weight.requires_grad


def test_dropout_acts_in_training_alone() -> None:
    lm = tiny("bert")
    for part in (Prefix(normal(lm, 4, seed=0).tensors(), dropout=0.5), mlp_prefix(lm, 4, mid=4, seed=0, dropout=0.5)):
        part.train()
        torch.manual_seed(0)
        assert float((read(lm, {"prefix": part}) - read(lm, {"prefix": part})).detach().abs().max()) > 1e-5
        part.eval()
        assert torch.equal(read(lm, {"prefix": part}), read(lm, {"prefix": part}))
        again = type(part).build(part.config(), part.tensors())
        assert again.dropout.p == 0.5


def test_fitting_moves_the_mlp_towards_the_goal_and_not_the_table() -> None:
    lm = tiny("gpt2")
    goal, part = of_tokens(lm, (7, 8, 9)), mlp_prefix(lm, 3, mid=16, seed=0)
    near = fitted(part, goal, steps=300, lr=1e-2)

    def far(one: MLPPrefix) -> float:
        return float((one.places()["self"] - goal.places["self"]).detach().square().mean())

    assert far(near) < 0.05 * far(part)
    assert torch.equal(near.tables["self"], part.tables["self"])
    assert all(one.grad is None for one in near.parameters())


def test_an_lstm_knows_the_order_and_an_mlp_does_not() -> None:
    for kind, equivariant in (("lstm", False), ("wide_lstm", False), ("mlp", True)):
        torch.manual_seed(0)
        encoder = Encoder(kind, length=3, width=4)  # type: ignore[arg-type]
        before = encoder()
        with torch.no_grad():
            encoder.table.copy_(encoder.table[[2, 0, 1]].clone())
        assert before.shape == (3, 4)
        assert torch.allclose(encoder(), before[[2, 0, 1]], atol=1e-6) is equivariant


def test_one_pseudo_token_keeps_its_axis() -> None:
    assert encoded(tiny("bert"), "lstm", {"a": 1}, seed=0)["a"].vectors(tiny("bert"), ()).shape == (1, 32)


def test_stretches_share_one_encoder_and_the_seed_decides() -> None:
    lm = tiny("bert")
    parts = encoded(lm, "lstm", {"a": 2, "b": 3}, seed=0)
    assert parts["a"].encoder is parts["b"].encoder
    whole = parts["a"].encoder()
    assert torch.equal(torch.cat([parts["a"].vectors(lm, ()), parts["b"].vectors(lm, ())]), whole)
    again, other = (encoded(lm, "lstm", {"a": 2, "b": 3}, seed=seed)["a"].encoder() for seed in (0, 1))
    assert torch.equal(again, whole)
    assert not torch.equal(other, whole)
    assert all(
        float(one.sum()) != 0 for one in torch.autograd.grad(whole.square().sum(), list(parts["a"].parameters()))
    )


def test_says_what_cannot_be() -> None:
    lm = tiny("bert")
    for lengths in ({}, {"a": 0}, {"a": 2, "b": -1}):
        with pytest.raises(SettingError, match="an encoder of no vectors"):
            encoded(lm, "mlp", lengths, seed=0)
    with pytest.raises(SettingError, match="leave no room for text"):
        encoded(lm, "mlp", {"a": 100, "b": 60}, seed=0)
    with pytest.raises(SettingError, match="half the width 5 a direction can't be"):
        Encoder("lstm", length=2, width=5)
    with pytest.raises(SettingError, match="an MLP can't be 0 wide"):
        mlp_prefix(lm, 2, mid=0, seed=0)
    with pytest.raises(CannotAttach, match="vectors 4 wide don't fit tiny-bert, whose are 32 wide"):
        Encoded(Encoder("mlp", length=2, width=4), 0, 2).vectors(lm, ())
    with pytest.raises(CannotAttach, match="doesn't fit tiny-bert"):
        mlp_prefix(tiny("llama"), 2, mid=4, seed=0).prefix(lm)
