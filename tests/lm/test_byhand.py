from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from tests.lm.rows import row
from torch import Tensor, nn
from transformers import Cohere2Config, Cohere2ForCausalLM, Gemma2Config, Gemma2ForCausalLM
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from promptatlas.lm import byhand
from promptatlas.lm.ask import Given, Hidden, Job, Places, Tokens, Vocabulary
from promptatlas.lm.byhand import CHUNK, attention, chosen
from promptatlas.lm.load import wrap
from promptatlas.lm.local import LocalLM
from promptatlas.lm.site import Part
from promptatlas.parts.vectors import vocabulary
from promptatlas.parts.weights import full
from promptatlas.testing.same import same
from promptatlas.testing.tiny import byte_level, names, tiny

FILLED = "{text} It was {mask}"
HALF = 3e-2  # bfloat16 has three digits
MODULE = nn.Identity()


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def heads(queries: int, keys: int | None = None, groups: int = 1, dtype: torch.dtype = torch.bfloat16) -> list[Tensor]:
    """Query, key and value of two rows, four heads, eight numbers a head."""
    sizes = [(2, 4, queries, 8), *[(2, 4 // groups, keys or queries, 8)] * 2]
    return [drawn(*size, seed=at).to(dtype).requires_grad_() for at, size in enumerate(sizes)]


def both(some: Sequence[Tensor], mask: Tensor | None = None, **settings: Any) -> tuple[list[Tensor], list[Tensor]]:
    """What attention puts out and its gradients: by hand, and as torch has it in float32."""
    found = []
    for function, dtype in ((attention, torch.bfloat16), (sdpa_attention_forward, torch.float32)):
        own = [one.detach().to(dtype).requires_grad_() for one in some]
        more = {name: one.to(dtype) if isinstance(one, Tensor) else one for name, one in settings.items()}
        fit = mask.to(dtype) if mask is not None and mask.dtype != torch.bool else mask
        module = MODULE
        if own[1].shape[1] != own[0].shape[1]:
            module = nn.Identity()
            module.num_key_value_groups = own[0].shape[1] // own[1].shape[1]
        out, _ = function(module, *own, fit, **more)
        weight = drawn(*out.shape, seed=9).to(dtype)
        found.append([out.detach().float(), *(one.float() for one in torch.autograd.grad((out * weight).sum(), own))])
    return found[0], found[1]


def agree(some: Sequence[Tensor], mask: Tensor | None = None, **settings: Any) -> None:
    found, wanted = both(some, mask, **settings)
    for name, one, other in zip(("out", "query", "key", "value"), found, wanted, strict=True):
        assert one.shape == other.shape
        off = float((one - other).abs().max() / other.abs().max().clamp(min=0.1))
        assert off < HALF, f"{name}: off by {off:.3g}"


@pytest.mark.parametrize("length", [1, 5, 127, 128, 129, 300])
@pytest.mark.parametrize("causal", [False, True])
def test_attention_equals_torch(length: int, causal: bool) -> None:
    agree(heads(length), is_causal=causal)


def test_a_query_sees_nothing_behind_it() -> None:
    query, key, value = (one.detach() for one in heads(200))
    out = attention(MODULE, query, key, value, None, is_causal=True)[0]
    key[:, :, 150:], value[:, :, 150:] = 5, 7
    again = attention(MODULE, query, key, value, None, is_causal=True)[0]
    assert torch.equal(out[:, :150], again[:, :150])
    assert not torch.equal(out[:, 150:], again[:, 150:])


@pytest.mark.parametrize("length", [7, 200])
@pytest.mark.parametrize("kind", ["bool", "added"])
def test_a_mask_hides(length: int, kind: str) -> None:
    seen = drawn(2, 1, length, length, seed=4) > 0
    seen |= torch.eye(length, dtype=torch.bool)
    added = torch.zeros(2, 1, length, length).masked_fill(~seen, torch.finfo(torch.bfloat16).min)
    agree(heads(length), seen if kind == "bool" else added)
    agree(heads(length), seen[:1] if kind == "bool" else added[:1])


def test_a_mask_says_all_there_is_to_say_of_what_is_seen() -> None:
    agree(heads(9), torch.ones(1, 1, 9, 9, dtype=torch.bool), is_causal=True)


@pytest.mark.parametrize("length", [6, 150])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("groups", [2, 4])
def test_heads_share_keys(length: int, causal: bool, groups: int) -> None:
    agree(heads(length, groups=groups), is_causal=causal)


@pytest.mark.parametrize("scaling", [1.0, 0.1])
def test_scores_are_scaled_as_it_is_said(scaling: float) -> None:
    agree(heads(20), scaling=scaling, is_causal=True)
    agree(heads(20), scaling=scaling, is_causal=False)


@pytest.mark.parametrize("keys", [20, 33])
def test_attention_over_other_keys(keys: int) -> None:
    agree(heads(20, keys), is_causal=False)


def test_one_query_sees_all_keys() -> None:
    agree(heads(1, 33), is_causal=True)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_a_bias_by_position_is_added(causal: bool, masked: bool) -> None:
    mask = torch.ones(2, 1, 12, 12, dtype=torch.bool)
    mask[1, :, :, 8:] = False
    agree(
        heads(12),
        mask if masked else None,
        scaling=1.0,
        is_causal=causal and not masked,
        position_bias=drawn(1, 4, 12, 12, seed=5),
    )


@pytest.mark.parametrize("settings", [{"is_causal": True}, {"is_causal": False, "scaling": 0.3}])
def test_in_float32_attention_is_torchs_own_to_the_bit(settings: Mapping[str, Any]) -> None:
    some = heads(140, dtype=torch.float32)
    assert torch.equal(
        attention(MODULE, *some, None, **settings)[0], sdpa_attention_forward(MODULE, *some, None, **settings)[0]
    )


def test_dropout_is_left_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []

    def noted(*_: Any, **settings: Any) -> tuple[Tensor, None]:
        asked.append(settings["dropout"])
        return torch.zeros(1), None

    monkeypatch.setattr(byhand, "sdpa_attention_forward", noted)
    attention(MODULE, *heads(4), None, dropout=0.5)
    assert asked == [0.5]


def reference(states: Tensor, weight: Tensor, bias: Tensor | None, ids: Tensor) -> Tensor:
    return nn.functional.linear(states, weight, bias).log_softmax(-1).gather(1, ids[:, None])[:, 0]


@pytest.mark.parametrize("points", [1, 5, CHUNK, CHUNK + 1, 2 * CHUNK + 17])
@pytest.mark.parametrize(
    ("biased", "needed"),
    [
        *((False, one) for one in [(0, 1), (0,), (1,)]),
        *((True, one) for one in [(0, 1, 2), (0,), (2,), (1, 2), (0, 2)]),
    ],
    ids=str,
)
def test_chosen_tokens_scores_and_gradients(points: int, biased: bool, needed: tuple[int, ...]) -> None:
    given = [drawn(points, 6, seed=1), drawn(11, 6, seed=2), drawn(11, seed=3)][: 3 if biased else 2]
    ids = torch.arange(points) * 7 % 5  # the same ones again and again, some never
    outer = drawn(points, seed=4)
    found, wanted = [], []
    for out, function, dtype in ((found, chosen, torch.float32), (wanted, reference, torch.float64)):
        own = [one.to(dtype).requires_grad_(at in needed) for at, one in enumerate(given)]
        logp = function(*own, *([] if biased else [None]), ids)
        out += [
            logp.detach(),
            *torch.autograd.grad((logp * outer.to(dtype)).sum(), [own[at] for at in needed]),
        ]
    assert found[0].dtype == torch.float32
    names = ["logp", *(("states", "weight", "bias")[at] for at in needed)]
    for name, one, other in zip(names, found, wanted, strict=True):
        same(one.double(), other, name, tolerance=1e-5 if name == "logp" else 1e-4)


def test_chosen_makes_no_graph_where_none_is_wanted() -> None:
    states, weight, ids = drawn(5, 6).requires_grad_(), drawn(11, 6).requires_grad_(), torch.arange(5)
    with torch.no_grad():
        found = chosen(states, weight, None, ids)
    assert not found.requires_grad
    assert not chosen(states.detach(), weight.detach(), None, ids).requires_grad
    same(found, reference(states, weight, None, ids).detach(), "without a graph")


@pytest.mark.parametrize("needed", [False, True])
def test_chosen_is_right_for_tokens_that_are_all_but_impossible(needed: bool) -> None:
    states = torch.tensor([[1.0, 300.0], [0.0, 95.0]]).requires_grad_(needed)
    weight, ids = torch.tensor([[0.0, 0.0], [0.0, 1.0], [2.0, 0.5]]), torch.tensor([0, 0])
    same(chosen(states, weight, None, ids).detach(), torch.tensor([-300.0, -95.0]), "far below")


def test_chosen_under_autocast_is_near() -> None:
    states, weight, bias = (drawn(*size, seed=at).requires_grad_() for at, size in enumerate([(9, 6), (11, 6), (11,)]))
    ids = torch.arange(9)
    with torch.autocast("cpu", torch.bfloat16):
        found = chosen(states, weight, bias, ids)
    assert found.dtype == torch.float32
    plain = reference(states, weight, bias, ids)
    same(found.detach(), plain.detach(), "values", tolerance=5e-2)
    some = (states, weight, bias)
    for one, other in zip(torch.autograd.grad(found.sum(), some), torch.autograd.grad(plain.sum(), some), strict=True):
        assert one.dtype == torch.float32
        same(one, other, "gradient", tolerance=5e-2)


def parts(lm: LocalLM) -> dict[str, Part]:
    return {"weights": full(lm), "soft": vocabulary(lm, 2, seed=0)}


@pytest.mark.parametrize("name", names())
def test_places_and_answers_are_the_same_alone_and_beside_the_vocabulary(name: str) -> None:
    lm, answer = tiny(name), (9, 8)
    every: list[list[Tensor]] = []
    for whole in (False, True):
        own = parts(lm)
        made = [row(lm, "{@soft}" + FILLED, own, width=2, text=text) for text in ("the cat", "The dog sat on a hill")]
        made = [one.then(answer) for one in made]
        at = tuple(made[0].slots[0].positions[:1]) * 2 + (0,)
        asks = (Places(at, (7, 12, 7)), Given(), *([Vocabulary()] if whole else []))
        readings = lm.read([Job(one, asks, own) for one in made])
        values = [read.values for reading in readings for read in reading[:2]]
        assert [one.shape for one in values] == [(1, 3), (1, 2)] * 2
        tensors = [one for part in own.values() for one in part.parameters()]
        grads = torch.autograd.grad(sum(one.sum() for one in values), tensors, allow_unused=True)
        every.append([*(one.detach() for one in values), *(torch.zeros(()) if one is None else one for one in grads)])
    for one, other in zip(*every, strict=True):
        same(one, other, name, tolerance=1e-5 * max(1.0, float(other.abs().max())))


@pytest.mark.parametrize("name", ["bert", "gpt2", "t5"])
def test_places_equal_the_vocabulary_gathered(name: str) -> None:
    lm = tiny(name)
    one = row(lm, FILLED, text="the cat sat")
    at = one.slots[0].positions[0]
    (places,) = lm.read([Job(one, (Places((at, at), (3, 11)),))])[0]
    (every,) = lm.read([Job(one, (Vocabulary(),))])[0]
    same(places.values, every.values[[0], [3, 11]][None], name)


@pytest.mark.parametrize("name", ["bert", "gpt2", "t5"])
def test_states_beside_chosen_tokens(name: str) -> None:
    lm = tiny(name)
    one = row(lm, FILLED, text="the cat sat")
    at = one.slots[0].positions[0]
    asks = (Hidden(at="slot"), Places((at,), (7,)), Hidden(at="head"))
    slot, places, head = lm.read([Job(one, asks)])[0]
    same(slot.values, lm.read([Job(one, asks[:1])])[0][0].values, "slot")
    same(places.values, lm.read([Job(one, asks[1:2])])[0][0].values, "places")
    same(head.values, lm.read([Job(one, asks[2:])])[0][0].values, "head")


def test_no_tokens_asked_do_not_shift_the_others() -> None:
    lm = tiny("bert")
    one = row(lm, FILLED, text="the cat sat")
    none, places = lm.read([Job(one, (Tokens(()), Places((1, 2), (7, 8))))])[0]
    assert none.values.shape == (1, 0)
    same(places.values, lm.read([Job(one, (Places((1, 2), (7, 8)),))])[0][0].values, "places")


@pytest.mark.parametrize("name", names())
def test_most_models_put_out_what_their_head_does(name: str) -> None:
    assert tiny(name).bare


SMALL: dict[str, Any] = {
    "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 8, "max_position_embeddings": 64,
}  # fmt: skip


def _changed(kind: str) -> LocalLM:
    backend = byte_level("<s>", None)
    marks = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "vocab_size": len(backend)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = (
            Gemma2ForCausalLM(Gemma2Config(**SMALL, **marks, final_logit_softcapping=2.0))
            if kind == "gemma2"
            else Cohere2ForCausalLM(Cohere2Config(**SMALL, **marks, logit_scale=0.25))
        )
        for one in model.parameters():
            one.data.add_(torch.randn_like(one) * 0.3)
    return wrap(model, backend, name=kind, kind="causal")


@pytest.mark.parametrize("kind", ["gemma2", "cohere2"])
def test_a_model_that_caps_or_scales_what_its_head_puts_out_is_not_bare(kind: str) -> None:
    lm = _changed(kind)
    assert not lm.bare
    one = row(lm, FILLED, text="the cat sat").then((9, 8))
    (given,) = lm.read([Job(one, (Given(),))])[0]
    first = lm.read([Job(one.then(()), (Vocabulary(),))])[0][0].values
    same(given.values[:, 0], first[:, 9], kind)
