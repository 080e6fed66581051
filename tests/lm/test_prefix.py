import math
from typing import Any

import pytest
import torch
from tests.lm.rows import bare, row
from torch import Tensor, nn

from promptatlas.errors import CannotAttach
from promptatlas.lm.ask import Job, Tokens, Vocabulary
from promptatlas.lm.attend import attend
from promptatlas.lm.doors import Flight, Prefixes, flying
from promptatlas.parts.prefix import Prefix, normal
from promptatlas.testing.same import same
from promptatlas.testing.tiny import names, tiny

FILLED = "{text} It was {mask}"
TEXTS = ("The cat sat on the old grey town", "a", "a dog ran over the hill")
WITH = [name for name in names() if name != "deberta-v2"]


def read(lm: Any, parts: dict[str, Any], text: str = TEXTS[0]) -> Tensor:
    return lm.read([Job(row(lm, FILLED, parts, text=text), (Vocabulary(),), parts)])[0][0].values


class Module(nn.Module):
    is_causal = False


def attention(
    query: Tensor, key: Tensor, value: Tensor, prefixes: Prefixes | None, mask: Tensor | None = None
) -> Tensor:
    module = Module()
    module._promptatlas_place = ("self", 0)  # type: ignore[assignment]
    with flying(Flight(prefixes={} if prefixes is None else {"self": prefixes})):
        return attend(module, query, key, value, mask, scaling=1.0)[0].transpose(1, 2)  # [rows, heads, queries, dim]


def test_a_zero_prefix_takes_attention_away() -> None:
    query, key = torch.ones(1, 1, 1, 1), torch.tensor([0.0, math.log(3)]).reshape(1, 1, 2, 1)
    value = torch.tensor([1.0, 0.0]).reshape(1, 1, 2, 1), torch.tensor([0.0, 1.0]).reshape(1, 1, 2, 1)
    zero = Prefixes([(torch.zeros(1, 1, 1, 1), torch.zeros(1, 1, 1, 1))], None)
    without = [float(attention(query, key, one, None)) for one in value]
    behind = [float(attention(query, key, one, zero)) for one in value]
    assert without == pytest.approx([0.25, 0.75])
    assert behind == pytest.approx([0.2, 0.6])  # the other 0.2 goes to the zero value: all is scaled by 0.8


def test_attention_with_a_prefix_by_hand() -> None:
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, 3, 4, 5, generator=generator) for _ in range(3))
    front = [torch.randn(2, 3, 2, 5, generator=generator) for _ in range(2)]
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]]).bool()[:, None, None, :].expand(2, 1, 4, 4)
    seen = torch.tensor([[True, True], [True, False]])
    found = attention(query, key, value, Prefixes([(front[0], front[1])], seen), mask)
    scores = query @ torch.cat([front[0], key], 2).transpose(2, 3)
    allowed = torch.cat([seen[:, None, None, :].expand(2, 1, 4, 2), mask], -1)
    weights = scores.masked_fill(~allowed, -math.inf).softmax(-1)
    same(found, weights @ torch.cat([front[1], value], 2), "attention")


@pytest.mark.parametrize("name", ["gpt2", "llama", "qwen2", "opt"])
def test_a_prefix_of_a_real_texts_keys_and_values_is_that_text(name: str) -> None:
    lm, model = tiny(name), bare(name)
    before = torch.tensor([[7, 8, 9, 10]])
    one = row(lm, FILLED, text=TEXTS[0])
    with torch.no_grad():
        past = model(before, use_cache=True).past_key_values
        made = torch.stack([torch.stack([layer.keys[0], layer.values[0]]) for layer in past.layers])
        positions = torch.arange(len(one))[None]  # the text keeps its positions
        ids = torch.tensor([one.ids])
        ones = torch.ones(1, before.shape[1] + len(one), dtype=torch.long)
        logits = model(ids, past_key_values=past, position_ids=positions, attention_mask=ones).logits[0, -1]
    found = lm.read([Job(one, (Vocabulary(),), {"prefix": Prefix({"self": made})})])[0][0].values
    same(found, logits.log_softmax(-1)[None], name)
    assert float((found - read(lm, {})).detach().abs().max()) > 1e-3


@pytest.mark.parametrize("name", WITH)
def test_a_prefix_of_no_length_is_no_prefix(name: str) -> None:
    lm = tiny(name)
    same(read(lm, {"prefix": normal(lm, 0, seed=0)}), read(lm, {}), name)


@pytest.mark.parametrize("name", WITH)
def test_rows_with_prefixes_of_other_lengths_and_without_share_a_batch(name: str) -> None:
    lm = tiny(name)
    choices: list[dict[str, Any]] = [{"prefix": normal(lm, length, seed=length)} for length in (1, 3, 0)] + [{}]
    jobs = [Job(row(lm, FILLED, text=text), (Tokens((7, 8), mass=True),), parts) for parts in choices for text in TEXTS]
    for job, found in zip(jobs, lm.read(jobs), strict=True):
        alone = lm.read([job])[0][0]
        same(found[0].values, alone.values, name)
        same(found[0].total, alone.total, name)


@pytest.mark.parametrize("name", WITH)
def test_every_layer_of_every_place_has_a_prefix_of_its_own(name: str) -> None:
    lm = tiny(name)
    part = normal(lm, 2, seed=0)
    assert set(part.places) == ({"encoder", "decoder", "cross"} if lm.kind == "seq2seq" else {"self"})
    read(lm, {"prefix": part}).square().sum().backward()
    for place, one in part.places.items():
        by_layer = one.grad.abs().sum((2, 3, 4))  # [layers, keys and values]
        assert bool((by_layer[:, 1] > 0).all()), f"{place}: values of {by_layer}"
        # a decoder that is read at its first position has one key of its own beside the prefix: its keys count as well
        assert bool((by_layer[:, 0] > 0).all()), f"{place}: keys of {by_layer}"


def test_albert_runs_one_layer_twice_with_two_prefixes() -> None:
    lm = tiny("albert")
    part = normal(lm, 3, seed=0)
    assert part.tensors()["self"].shape == (2, 2, 4, 3, 8)
    turned = Prefix({"self": part.tensors()["self"].flip(0)})
    assert float((read(lm, {"prefix": part}) - read(lm, {"prefix": turned})).detach().abs().max()) > 1e-4


@pytest.mark.parametrize("place", ["encoder", "decoder", "cross"])
@pytest.mark.parametrize("name", ["t5", "bart"])
def test_a_place_can_have_a_prefix_alone(name: str, place: str) -> None:
    lm = tiny(name)
    part = normal(lm, 2, seed=0, places=[place])
    assert list(part.places) == [place]
    assert float((read(lm, {"prefix": part}) - read(lm, {})).detach().abs().max()) > 1e-5


@pytest.mark.parametrize(("name", "heads"), [("llama", 2), ("qwen2", 2), ("gpt2", 4), ("bert", 4)])
def test_grouped_attention_has_as_many_prefix_heads_as_keys(name: str, heads: int) -> None:
    assert tiny(name).prefixes() == {"self": ((heads, 8), (heads, 8))}


def test_deberta_says_why_it_takes_none() -> None:
    lm = tiny("deberta-v2")
    assert "prefix" not in lm.can
    made = normal(tiny("bert"), 2, seed=0)
    for attempt in (lambda: normal(lm, 2, seed=0), lambda: read(lm, {"prefix": made})):
        with pytest.raises(CannotAttach) as caught:
            attempt()
        assert str(caught.value) == (
            "a prefix can't be put before the attention of deberta-v2: "
            "its disentangled attention has no place for extra keys and values\n\n"
            "hint: use vectors at the input (`prompt_tuning`), or another family of model"
        )


def test_a_row_takes_one_prefix() -> None:
    lm = tiny("bert")
    with pytest.raises(CannotAttach, match="these parts are all prefixes: a, b"):
        read(lm, {"a": normal(lm, 1, seed=0), "b": normal(lm, 1, seed=1)})


def test_a_prefix_of_another_model_is_refused() -> None:
    with pytest.raises(CannotAttach, match="doesn't fit tiny-llama"):
        read(tiny("llama"), {"prefix": normal(tiny("gpt2"), 2, seed=0)})
