"""Small modules: adapters, factors, mixes, gates, differences, children. Numbers are worked out by hand."""

import math
from typing import Any

import pytest
import torch
from tests.lm.rows import bare, plain, row
from torch import Tensor, nn

from promptatlas.errors import CannotAttach, NeedsError, SettingError
from promptatlas.lm.ask import Job, Vocabulary
from promptatlas.parts.adapters import Adapters, adapters, stands
from promptatlas.parts.child import Child, children, grown, least
from promptatlas.parts.diff import Diff, Sparse, gated, once, projected, sparse
from promptatlas.parts.gates import Gates, drawn, open_chance, settled
from promptatlas.parts.mix import Mix, mix
from promptatlas.parts.scale import Scale, scale
from promptatlas.parts.weights import Values, biases, changed, full, lora, norms, onto
from promptatlas.testing import check_part
from promptatlas.testing.same import same
from promptatlas.testing.tiny import tiny

TEXT = "The cat sat on the old grey town"
FILLED = "{text} It was {mask}"


def read(lm: Any, parts: dict[str, Any]) -> Tensor:
    return lm.read([Job(row(lm, FILLED, parts, text=TEXT), (Vocabulary(),), parts)])[0][0].values


def hooked(name: str) -> Tensor:
    """What a model without our doors says, with whatever hooks it has."""
    model, lm = MODELS[name], tiny(name)
    one = row(lm, FILLED, text=TEXT)
    return plain(model, lm.kind, one).logits[0].log_softmax(-1)[list(one.slots[0].positions)]


MODELS: dict[str, Any] = {}


# adapters


def by_hand() -> Adapters:
    """Width 1 on states 2 wide: W1 = [[1], [0]], b1 = .5, W2 = [[2, -1]], b2 = [0, .1]."""
    down, up = torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0], [-1.0]])
    return Adapters(("down",), "gelu", [(down, torch.tensor([0.5]), up, torch.tensor([0.0, 0.1]))])


def test_an_adapter_by_hand() -> None:
    part = by_hand()
    found = part.adapted(part.adapters[0], torch.tensor([1.0, -1.0]))
    torch.testing.assert_close(found, torch.tensor([3.7995784, -2.2997892]))


def test_an_adapter_of_bert_base_has_99136_numbers() -> None:
    tensors = (torch.zeros(64, 768), torch.zeros(64), torch.zeros(768, 64), torch.zeros(768))
    assert sum(one.numel() for one in Adapters(("down",), "gelu", [tensors]).parameters()) == 99_136


@pytest.mark.parametrize("places", [("attention.out", "down"), ("layer",)])
@pytest.mark.parametrize("name", ["bert", "albert", "deberta-v2", "gpt2", "llama", "t5", "bart"])
def test_adapters_that_start_at_zero_change_no_bit(name: str, places: tuple[str, ...]) -> None:
    lm = tiny(name)
    part = adapters(lm, width=4, seed=0, places=places, start="zero")
    with torch.no_grad():
        assert torch.equal(read(lm, {"a": part}), read(lm, {}))
        loud, soft, softer = (
            float(
                (read(lm, {"a": adapters(lm, width=4, seed=0, places=places, scale=size)}) - read(lm, {})).abs().max()
            )
            for size in (0.3, 1e-2, 1e-3)
        )
    assert loud > soft > softer
    assert softer < 1e-3


HANDS = {
    "bert": ["bert.encoder.layer.{}.attention.output.dense", "bert.encoder.layer.{}.output.dense"],
    "gpt2": ["transformer.h.{}.attn.c_proj", "transformer.h.{}.mlp.c_proj"],
    "llama": ["model.layers.{}.self_attn.o_proj", "model.layers.{}.mlp.down_proj"],
}


@pytest.mark.parametrize("name", HANDS)
def test_adapters_stand_behind_the_output_projections_before_the_skip(name: str) -> None:
    lm, MODELS[name] = tiny(name), bare(name)
    part = adapters(lm, width=4, seed=0, scale=0.2)
    modules = [pattern.format(layer) for pattern in HANDS[name] for layer in range(2)]
    for module, one in zip(modules, part.adapters, strict=True):
        w1, b1, w2, b2 = (one.get_parameter(key) for key in ("down", "down_bias", "up", "up_bias"))

        def after(_m: Any, _i: Any, out: Tensor, w1: Any = w1, b1: Any = b1, w2: Any = w2, b2: Any = b2) -> Tensor:
            return out + nn.functional.gelu(out @ w1.T + b1, approximate="tanh") @ w2.T + b2

        MODELS[name].get_submodule(module).register_forward_hook(after)
    same(read(lm, {"a": part}), hooked(name), name)


def test_a_layer_without_its_adapters_is_as_it_was() -> None:
    lm, MODELS["bert"] = tiny("bert"), bare("bert")
    part = adapters(lm, width=4, seed=0, scale=0.2, places=("layer",))
    with torch.no_grad():
        part.adapters[1].get_parameter("up").zero_()
    first = part.adapters[0]

    def after(_m: Any, _i: Any, out: Any) -> Any:
        return (part.adapted(first, out[0]), *out[1:]) if isinstance(out, tuple) else part.adapted(first, out)

    MODELS["bert"].bert.encoder.layer[0].register_forward_hook(after)
    same(read(lm, {"a": part}), hooked("bert"), "one layer")


def test_layers_that_share_a_module_have_adapters_of_their_own() -> None:
    lm = tiny("albert")
    assert [one.turns for one in stands(lm, ("attention.out", "down", "layer"))] == [2, 2, 2]
    part = adapters(lm, width=4, seed=0, scale=0.3, places=("down",))
    alike = Adapters(part.where, part.activation, [list(part.adapters[0].parameters())] * 2)
    turned = Adapters(part.where, part.activation, [list(one.parameters()) for one in reversed(part.adapters)])
    with torch.no_grad():
        found = [read(lm, {"a": one}) for one in (part, alike, turned, part)]
    assert torch.equal(found[0], found[3])  # no pass leaves the next one's turn behind
    assert float((found[0] - found[1]).abs().max()) > 1e-6
    assert float((found[0] - found[2]).abs().max()) > 1e-6


def test_adapters_say_what_is_wrong() -> None:
    lm = tiny("bert")
    with pytest.raises(SettingError, match="an adapter can't be 0 wide"):
        adapters(lm, width=0, seed=0)
    with pytest.warns(UserWarning, match="adapters 32 wide are no bottleneck: the states are 32 wide"):
        adapters(lm, width=32, seed=0)
    with pytest.raises(SettingError, match="there is no activation `gelo`") as caught:
        adapters(lm, width=2, seed=0, activation="gelo")
    assert caught.value.hint == "did you mean `gelu`?"
    with pytest.raises(SettingError, match="no place is named"):
        adapters(lm, width=2, seed=0, places=())
    with pytest.raises(CannotAttach, match="there is no place called `downn`"):
        adapters(lm, width=2, seed=0, places=("downn",))
    two = {"a": adapters(lm, width=2, seed=0), "b": adapters(lm, width=2, seed=0)}
    with pytest.raises(CannotAttach, match="part `b` and another part both act on"):
        read(lm, two)
    with pytest.raises(CannotAttach, match="4 adapters don't fit the 2 places of tiny-bert"):
        read(lm, {"a": Adapters(("down",), "gelu", [list(one.parameters()) for one in two["a"].adapters])})
    with pytest.raises(CannotAttach, match="an adapter of states 2 wide stands at a place 32 wide"):
        read(lm, {"a": Adapters(("down",), "gelu", [list(by_hand().adapters[0].parameters())] * 2)})


# factors

SCALED: dict[str, list[list[tuple[str, int, bool]]]] = {  # key, value, down: module, first column, whether of its input
    "bert": [
        [(f"bert.encoder.layer.{layer}.{what}", 0, into) for layer in range(2)]
        for what, into in (("attention.self.key", False), ("attention.self.value", False), ("output.dense", True))
    ],
    "gpt2": [
        [(f"transformer.h.{layer}.{what}", first, into) for layer in range(2)]
        for what, first, into in (("attn.c_attn", 32, False), ("attn.c_attn", 64, False), ("mlp.c_proj", 0, True))
    ],
    "llama": [
        [(f"model.layers.{layer}.{what}", 0, into) for layer in range(2)]
        for what, into in (("self_attn.k_proj", False), ("self_attn.v_proj", False), ("mlp.down_proj", True))
    ],
}


@pytest.mark.parametrize("name", SCALED)
def test_factors_scale_keys_values_and_what_enters_the_down_projection(name: str) -> None:
    lm, MODELS[name] = tiny(name), bare(name)
    part = scale(lm)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for one in part.factors:
            one.add_(torch.randn(one.shape, generator=generator) * 0.5)
    for (module, first, into), factor in zip([one for some in SCALED[name] for one in some], part.factors, strict=True):
        whole = torch.ones(96 if "c_attn" in module else len(factor))
        whole[first : first + len(factor)] = factor.detach()
        at = MODELS[name].get_submodule(module)
        if into:
            at.register_forward_pre_hook(lambda _m, given, whole=whole: (given[0] * whole,))
        else:
            at.register_forward_hook(lambda _m, _i, out, whole=whole: out * whole)
    found = read(lm, {"ia3": part})
    same(found, hooked(name), name)
    assert float((found - read(lm, {})).detach().abs().max()) > 1e-4


@pytest.mark.parametrize(("name", "numbers"), [("bert", 2 * (32 + 32 + 48)), ("llama", 2 * (16 + 16 + 48)),
                                               ("t5", 6 * 64 + 4 * 48)])  # fmt: skip
def test_fresh_factors_change_nothing_and_are_few(name: str, numbers: int) -> None:
    lm = tiny(name)
    part = scale(lm)
    same(read(lm, {"ia3": part}), read(lm, {}), name)
    assert sum(one.numel() for one in part.parameters()) == numbers


def test_factors_say_what_is_wrong() -> None:
    lm = tiny("bert")
    with pytest.raises(SettingError, match="no projection is named"):
        scale(lm, outputs=(), inputs=())
    with pytest.raises(CannotAttach, match="there is no place called `keys`"):
        scale(lm, outputs=("keys",))
    with pytest.raises(CannotAttach, match="factors for 1 projections don't fit the 2 of tiny-bert"):
        read(lm, {"ia3": Scale(("key",), (), [torch.ones(32)])})


# named values


def test_biases_of_chosen_projections() -> None:
    lm = tiny("bert")
    assert biases(lm, ("query", "up")).names == tuple(
        f"bert.encoder.layer.{layer}.{what}.bias"
        for layer in range(2) for what in ("attention.self.query", "intermediate.dense")
    )  # fmt: skip
    tied = [name for name in biases(lm).names if "decoder" in name or "predictions.bias" in name]
    assert len(tied) == 1
    assert len(tiny("bert").weights.places[tied[0]]) == 2  # one tensor in two places


def test_norms_are_gains_and_biases() -> None:
    assert sum(one.numel() for one in norms(tiny("bert")).parameters()) == 6 * 2 * 32  # embeddings, 2 a layer, head
    assert all(name.endswith("weight") for name in norms(tiny("t5")).names)


@pytest.mark.parametrize(("name", "but"), [("t5", ""), ("llama", ""), ("modernbert", " but its output head's")])
def test_a_model_without_biases(name: str, but: str) -> None:
    with pytest.raises(NeedsError) as caught:
        biases(tiny(name))
    assert str(caught.value) == (
        f"tiny-{name} has no biases{but}: there is nothing to train\n\n"
        "hint: train its norms, or use LoRA, a prefix or vectors instead"
    )


def test_what_was_not_moved_is_not_kept() -> None:
    lm = tiny("bert")
    fresh = biases(lm)
    name = fresh.names[3]
    moved = onto(fresh, Values({name: fresh.tensors()[name] + 1}))
    assert moved.names == fresh.names
    assert changed(moved, lm).names == (name,)


def test_lora_says_what_is_wrong() -> None:
    with pytest.raises(SettingError, match="can't have the rank 0"):
        lora(tiny("bert"), rank=0)
    with pytest.raises(SettingError, match="no projection is named"):
        lora(tiny("bert"), places=())


# mixes


def test_a_mix_by_hand() -> None:
    part = Mix(torch.tensor([0.0, math.log(2), 0.0]), torch.tensor([2.0]), torch.ones(1, 1), torch.zeros(1))
    assert part.mixed(torch.tensor([4.0, 8.0, 12.0])).tolist() == pytest.approx([16.0])


def test_a_fresh_mix_is_the_mean_of_layers_and_a_far_one_the_top() -> None:
    part = mix(tiny("bert"), 2, seed=0)
    states = torch.randn(5, 3 * 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(part.mixed(states), states.view(5, 3, 32).mean(1))
    with torch.no_grad():
        part.get_parameter("mix")[2] = 100
    torch.testing.assert_close(part.mixed(states), states[:, 64:])
    with pytest.raises(CannotAttach, match="a mix of 3 layers 32 wide was given 64 numbers"):
        part(states[:, :64])


@pytest.mark.parametrize("name", ["bert", "albert", "deberta-v2", "gpt2", "t5"])
def test_a_mix_has_every_layer_and_what_enters_the_first(name: str) -> None:
    check_part(lambda lm: mix(lm, 2, seed=0), tiny(name))
    assert len(mix(tiny(name), 2, seed=0).get_parameter("mix")) == 3


# gates


@pytest.mark.parametrize(
    ("alpha", "uniform", "gate", "slope"),
    [(0.0, 0.6, 0.3, 0.72), (0.0, 0.5, 0.0, 0.0), (0.0, 0.9, 1.0, 0.0), (1.0, 0.4, 0.433215, None)],
)
def test_gates_by_hand(alpha: float, uniform: float, gate: float, slope: float | None) -> None:
    at = torch.tensor([alpha], dtype=torch.float64, requires_grad=True)
    found = drawn(at, torch.tensor([uniform], dtype=torch.float64), -1.5, 1.5)
    assert float(found.detach()) == pytest.approx(gate, abs=1e-6)
    found.sum().backward()
    if slope is not None and 0 < gate < 1:
        assert float(at.grad) == pytest.approx(slope, abs=1e-6)
    elif slope is not None and uniform != 0.5:  # at the corner itself either slope is one
        assert float(at.grad) == 0


def test_gates_open_as_often_as_the_formula_says() -> None:
    uniform = torch.rand(100_000, generator=torch.Generator().manual_seed(0))
    for alpha in (-1.0, 0.0, 2.0):
        gates = drawn(torch.full((100_000,), alpha), uniform, -1.5, 1.5)
        for found, chance in (
            ((gates > 0), float(open_chance(torch.tensor(alpha), -1.5, 1.5))),
            ((gates == 1), 1 / (1 + math.exp(math.log(5) - alpha))),
        ):
            assert float(found.float().mean()) == pytest.approx(chance, abs=3 * math.sqrt(chance * (1 - chance) / 1e5))
    low, high = drawn(torch.full((2,), 5.0), torch.tensor([0.0325, 0.0327]), -1.5, 1.5).tolist()  # .032597
    assert low < 1
    assert high == 1
    assert settled(torch.tensor([-9.0, 0.0, 0.7, 9.0]), -1.5, 1.5).tolist() == pytest.approx([0, 0, 0.504563, 1])


def test_expected_numbers_by_hand() -> None:
    alpha = torch.tensor([0.0, 1.0])
    assert Gates([alpha], None).expected().item() == pytest.approx(1.231059)
    assert Gates([alpha], torch.zeros(1)).expected().item() == pytest.approx(0.615529)
    summed = Gates([alpha], torch.zeros(1), priced="sum", price=2.0)
    assert summed.expected().item() == pytest.approx(1.731059)
    assert summed.penalty().item() == pytest.approx(3.462118)


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.5), (-1.5, 1.0)])
def test_gates_that_never_close_or_open(low: float, high: float) -> None:
    with pytest.raises(SettingError, match="never close or open"):
        Gates([torch.zeros(1)], None, low=low, high=high)


# differences


def moved(lm: Any, *, structured: bool = True, alpha: float = 0.5) -> Diff:
    part = gated(lm, alpha=alpha, structured=structured)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for one in part.weights:
            one.copy_(torch.randn(one.shape, generator=generator) * 0.05)
    return part


def test_differences_keep_the_contract_of_parts() -> None:
    for structured in (True, False):
        check_part(lambda lm, structured=structured: moved(lm, structured=structured), tiny("bert"))
    check_part(lambda lm: sparse(projected(moved(lm).differences(), 0.01), moved(lm).differences()), tiny("gpt2"))
    check_part(lambda lm: moved(lm).gates, tiny("bert"))


def test_no_difference_is_the_model_whatever_its_gates() -> None:
    lm = tiny("bert")
    part = gated(lm)
    part.train().gates.begin(0, torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(read(lm, {"d": part}), read(lm, {}))


def test_gates_are_drawn_once_a_step_and_settled_for_answers() -> None:
    lm = tiny("bert")
    part = moved(lm)
    with torch.no_grad():
        settled_twice = [read(lm, {"d": part.eval()}) for _ in range(2)]
        part.train().gates.begin(0, torch.Generator().manual_seed(0))
        one, again = read(lm, {"d": part}), read(lm, {"d": part})
        part.gates.begin(1, torch.Generator().manual_seed(1))
        other = read(lm, {"d": part})
    assert torch.equal(*settled_twice)
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert not torch.equal(one, settled_twice[0])


def test_the_gradients_of_a_difference_are_the_formulas() -> None:
    alpha, group, w = torch.tensor([0.2, -0.4, 3.0]), torch.tensor([0.3]), torch.tensor([0.5, -1.0, 2.0])
    part = Diff({"x": w}, Gates([alpha], group)).train()
    part.gates.begin(0, torch.Generator().manual_seed(5))
    uniform, shared = part.gates._uniform  # type: ignore[misc]
    upstream = torch.tensor([1.0, -2.0, 0.5])
    (part.differences()["x"] * upstream).sum().backward()

    def gate(at: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        s = torch.sigmoid(u.log() - (1 - u).log() + at)
        z = s * 3 - 1.5
        return z.clamp(0, 1), 3 * s * (1 - s) * ((z > 0) & (z < 1))

    (z, slope), (zg, slope_g) = gate(alpha, uniform), gate(group, shared)
    torch.testing.assert_close(part.weights[0].grad, upstream * zg * z)
    torch.testing.assert_close(part.gates.alpha[0].grad, upstream * w * zg * slope)
    torch.testing.assert_close(part.gates.group.grad, (upstream * w * z).sum()[None] * slope_g)  # type: ignore[union-attr]


def test_a_closed_group_has_no_difference() -> None:
    part = Diff({"x": torch.ones(3)}, Gates([torch.full((3,), 5.0)], torch.tensor([-9.0])))
    assert part.differences()["x"].tolist() == [0, 0, 0]


def test_the_largest_differences_are_kept() -> None:
    delta = {"a": torch.tensor([[0.3, -0.5]]), "b": torch.tensor([0.1, 0.2])}
    kept = lambda share: {name: one.tolist() for name, one in projected(delta, share).items()}  # noqa: E731
    assert kept(0.5) == {"a": [0, 1], "b": []}
    assert kept(0.75) == {"a": [0, 1], "b": [1]}
    assert kept(1.0) == {"a": [0, 1], "b": [0, 1]}
    ties = projected({"a": torch.tensor([0.2, -0.2, 0.2, 0.2])}, 0.5)["a"]
    assert ties.tolist() == [0, 1]
    with pytest.warns(UserWarning, match="less than one: one is kept"):
        assert kept(0.1) == {"a": [1], "b": []}
    with pytest.warns(UserWarning, match="only 1 entries differ at all, where 2 could"):
        assert projected({"a": torch.tensor([0.0, 7.0, 0.0, 0.0])}, 0.5)["a"].tolist() == [1]
    for share in (0.0, 1.5):
        with pytest.raises(SettingError, match="it is above 0, and 1 at most"):
            projected(delta, share)


def test_budgets_are_exact_and_hold_each_other() -> None:
    lm = tiny("bert")
    delta, whole = once(moved(lm, alpha=9.0), torch.Generator().manual_seed(0))
    entries = sum(one.numel() for one in lm.parameters.values())
    before: set[tuple[str, int]] = set()
    for share in (0.001, 0.005, 0.3):
        kept = projected(delta, share)
        found = {(name, at) for name, some in kept.items() for at in some.tolist()}
        assert len(found) == math.floor(share * entries)
        assert before <= found
        before = found
    assert whole.keys() == delta.keys() == lm.parameters.keys()


def test_few_differences_are_added_where_they_belong_and_nowhere_else() -> None:
    lm = tiny("gpt2")  # its embedding is tied to its head: one difference for both
    delta = moved(lm, alpha=9.0).differences()
    part = sparse(projected(delta, 0.01), delta)
    assert part.count == math.floor(0.01 * sum(one.numel() for one in lm.parameters.values()))
    whole = {}
    with torch.no_grad():
        for name, value in part.overrides(lm).items():
            off = value != lm.parameters[name]
            index = part.tensors()[f"index/{name}"]
            assert index.dtype == torch.int32
            assert off.flatten().nonzero()[:, 0].tolist() == index.tolist()
            whole[name] = value
        assert torch.equal(read(lm, {"d": part}), read(lm, {"d": Values(whole)}))
    with pytest.raises(CannotAttach, match="doesn't fit tiny-bert"):
        read(tiny("bert"), {"d": part})
    bert = Sparse(
        {"bert.embeddings.LayerNorm.bias": torch.tensor([32])}, {"bert.embeddings.LayerNorm.bias": torch.ones(1)}
    )
    with pytest.raises(CannotAttach, match="doesn't fit tiny-bert"):
        read(tiny("bert"), {"d": bert})


# children


def test_a_percentile_by_hand() -> None:
    information = {"x.layer.0.w": torch.tensor([0.01, 0.25, 0.81, 0.04]), "x.embedding.w": torch.tensor([9.0])}
    assert least([information["x.layer.0.w"]], 0.5) == pytest.approx(0.145)
    assert least([information["x.layer.0.w"]], 0.25) == pytest.approx(0.39)
    assert {name: one.tolist() for name, one in children(information, 0.5).items()} == {
        "x.layer.0.w": [False, True, True, False]
    }
    assert children(information, 0.25)["x.layer.0.w"].tolist() == [False, False, True, False]


def test_children_say_what_is_wrong() -> None:
    for share in (0.0, 1.1, -1.0):
        with pytest.raises(SettingError, match="it is above 0, and 1 at most"):
            children({"x.0.w": torch.ones(2)}, share)
        with pytest.raises(SettingError, match="it is above 0, and 1 at most"):
            Child(Values({"w": torch.ones(1)}), share=share)
    with pytest.raises(NeedsError, match="no parameter is in a layer"):
        children({"embedding.w": torch.ones(2)}, 0.5)
    with pytest.warns(UserWarning, match="all of them are kept"):
        assert children({"x.0.w": torch.tensor([0.0, 0.0, 0.0, 1.0])}, 0.5)["x.0.w"].all()


def test_the_share_of_a_child_is_as_told_over_all_layers() -> None:
    generator = torch.Generator().manual_seed(0)
    information = {f"h.{at}.w": torch.rand(50, 20, generator=generator) * (at + 1) for at in range(3)}
    masks = children(information, 0.3)
    assert sum(int(one.sum()) for one in masks.values()) == pytest.approx(900, abs=1)
    assert masks["h.0.w"].sum() < masks["h.2.w"].sum()  # one line for all layers


def test_children_keep_the_contract_of_parts() -> None:
    check_part(lambda lm: Child(full(lm), share=0.5), tiny("bert"))
    check_part(
        lambda lm: Child(full(lm), masks={n: one > 0 for n, one in lm.parameters.items() if ".0." in n}), tiny("t5")
    )


def masked(part: Child, gradient: Tensor, seed: int) -> Tensor:
    part.begin(0, torch.Generator().manual_seed(seed))
    part.inner.values[0].grad = gradient.clone()
    with part.stepping():
        return part.inner.values[0].grad.clone()


def test_random_masks_keep_the_gradient_on_average() -> None:
    gradient = torch.tensor([0.5, -2.0])
    part = Child(Values({"w": torch.ones(2)}), share=0.5)
    draws = torch.stack([masked(part, gradient, seed) for seed in range(4000)])
    assert {round(one, 4) for one in draws[:, 0].tolist()} == {0.0, 1.0}  # 0 or g / p
    sigma = (gradient.abs() / math.sqrt(4000)).tolist()
    assert abs(float(draws.mean(0)[0]) - 0.5) < 3.5 * sigma[0]
    assert abs(float(draws.mean(0)[1]) + 2.0) < 3.5 * sigma[1]


def test_a_step_of_a_child_by_hand() -> None:
    """W = 1, g = .5, rate .1, share .5: to 1 or to .9; fixed masks don't scale."""
    found = set()
    for seed in range(8):
        part = Child(Values({"w": torch.ones(1)}), share=0.5)
        part.begin(0, torch.Generator().manual_seed(seed))
        part.inner.values[0].grad = torch.tensor([0.5])
        with part.stepping():
            torch.optim.SGD(part.parameters(), lr=0.1).step()
        found.add(round(part.inner.values[0].item(), 6))
    assert found == {1.0, 0.9}
    fixed = Child(Values({"w": torch.ones(2), "e": torch.ones(2)}), share=0.5, masks={"w": torch.tensor([True, False])})
    for one in fixed.inner.values:
        one.grad = torch.full((2,), 0.5)
    with fixed.stepping():
        assert [one.grad.tolist() for one in fixed.inner.values] == [[0.5, 0.0], [0.5, 0.5]]


@pytest.mark.parametrize(("decay", "left"), [(True, 0.95), (False, 1.0)])
def test_decay_shrinks_what_is_masked_unless_told(decay: bool, left: float) -> None:
    part = Child(Values({"w": torch.ones(1, 2)}), masks={"w": torch.tensor([[True, False]])}, decay=decay)
    part.inner.values[0].grad = torch.ones(1, 2)
    with part.stepping():
        torch.optim.AdamW(part.parameters(), lr=0.1, weight_decay=0.5).step()
    moved_to, stays = grown(part).tensors()["w"][0].tolist()
    assert stays == pytest.approx(left)
    assert moved_to < 0.9
