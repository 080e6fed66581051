from threading import Thread
from typing import Any

import pytest
import torch
from tests.lm.rows import bare, plain, row
from torch import Tensor
from transformers import BertConfig, BertForMaskedLM

from promptatlas.errors import CannotAttach
from promptatlas.lm.ask import Job, Vocabulary
from promptatlas.lm.load import wrap
from promptatlas.parts.prefix import normal
from promptatlas.parts.vectors import vocabulary
from promptatlas.parts.weights import LoRA, Values, biases, full, lora
from promptatlas.testing.same import fingerprint, same
from promptatlas.testing.tiny import names, tiny, wordpiece

FILLED = "{text} It was {mask}"
TEXT = "The cat sat on the old grey town"
# family -> query and value of a layer: module, first row, last row, whether the parameter stands input first
PLACES = {
    "bert": [
        ("bert.encoder.layer.{}.attention.self.query", 0, 32),
        ("bert.encoder.layer.{}.attention.self.value", 0, 32),
    ],
    "modernbert": [("model.layers.{}.attn.Wqkv", 0, 32), ("model.layers.{}.attn.Wqkv", 64, 96)],
    "gpt2": [("transformer.h.{}.attn.c_attn", 0, 32), ("transformer.h.{}.attn.c_attn", 64, 96)],
    "llama": [("model.layers.{}.self_attn.q_proj", 0, 32), ("model.layers.{}.self_attn.v_proj", 0, 16)],
    "opt": [("model.decoder.layers.{}.self_attn.q_proj", 0, 32), ("model.decoder.layers.{}.self_attn.v_proj", 0, 32)],
}
T5 = [(f"{where}.block.{layer}.layer", places) for where, places in (
    ("encoder", ((0, "Self"),)), ("decoder", ((0, "Self"), (1, "EncDec"))),
) for layer in range(2)]  # fmt: skip


def read(lm: Any, parts: dict[str, Any]) -> Tensor:
    return lm.read([Job(row(lm, FILLED, parts, text=TEXT), (Vocabulary(),), parts)])[0][0].values


def moved(part: LoRA) -> LoRA:
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for one in part.up:
            one.copy_(torch.randn(one.shape, generator=generator) * 0.3)
    return part


@pytest.mark.parametrize("name", names())
def test_a_fresh_lora_changes_nothing(name: str) -> None:
    same(read(tiny(name), {"lora": lora(tiny(name), rank=2)}), read(tiny(name), {}), name)


@pytest.mark.parametrize("name", [*PLACES, "t5"])
def test_lora_is_the_same_as_merging_by_hand(name: str) -> None:
    lm, model = tiny(name), bare(name)
    part = moved(lora(lm, rank=2, scale=0.5, places=("query", "value")))
    if name == "t5":
        wanted = [
            (f"{at}.{n}.{what}Attention.{letter}", 0, 32) for letter in "qv" for at, some in T5 for n, what in some
        ]
    else:
        wanted = [(module.format(layer), first, last) for module, first, last in PLACES[name] for layer in range(2)]
    for (module, first, last), down, up in zip(wanted, part.down, part.up, strict=True):
        weight = model.get_submodule(module).weight
        change = (0.5 * up @ down).detach()
        with torch.no_grad():
            if name == "gpt2":
                weight[:, first:last] += change.T
            else:
                weight[first:last] += change
    one = row(lm, FILLED, text=TEXT)
    logits = plain(model, lm.kind, one).logits[0].log_softmax(-1)[list(one.slots[0].positions)]
    found = read(lm, {"lora": part})
    same(found, logits, name)
    assert float((found - read(lm, {})).detach().abs().max()) > 1e-4


@pytest.mark.parametrize("what", ["query", "key", "value", "attention.out", "up", "down"])
@pytest.mark.parametrize("name", names())
def test_every_family_has_every_projection(name: str, what: str) -> None:
    spots = tiny(name).places(what)
    layers = {"albert": 1, "t5": 4, "bart": 4}.get(name, 2)
    if what not in ("up", "down"):
        layers = {"t5": 6, "bart": 6}.get(name, layers)
    assert len(spots) == layers
    for spot in spots:
        shape = tiny(name).parameters[spot.name].shape
        assert spot.inputs == shape[0 if spot.transposed else 1]
        assert spot.start + spot.outputs <= shape[1 if spot.transposed else 0]
    assert len({(spot.name, spot.start) for spot in spots}) == layers


def test_a_place_there_is_not_is_named() -> None:
    with pytest.raises(CannotAttach, match="there is no place called `quary`") as caught:
        tiny("bert").places("quary")
    assert caught.value.hint == "did you mean `query`?"


@pytest.mark.parametrize("name", names())
def test_all_weights_as_they_are_change_nothing(name: str) -> None:
    lm = tiny(name)
    with torch.no_grad():  # with gradients, attention may be worked out by another kernel
        assert torch.equal(read(lm, {"all": full(lm)}), read(lm, {}))


@pytest.mark.parametrize("name", ["bert", "gpt2", "t5"])
def test_tied_weights_move_together(name: str) -> None:
    lm, model = tiny(name), bare(name)
    part = full(lm)
    embedding = next(one for one, value in lm.parameters.items() if value.shape == lm.vectors.shape)
    with torch.no_grad():
        part.values[part.names.index(embedding)] *= 1.5
        model.get_parameter(embedding).mul_(1.5)
    one = row(lm, FILLED, text=TEXT)
    wanted = plain(model, lm.kind, one).logits[0].log_softmax(-1)[list(one.slots[0].positions)]
    same(read(lm, {"all": part}), wanted, name)


def test_input_vectors_are_the_models_own_also_under_other_weights() -> None:
    lm = wrap(bare("bert"), wordpiece(), name="fresh", kind="masked")
    part = full(lm)
    seen = []

    class Watching(type(vocabulary(lm, 1, seed=0))):  # type: ignore[misc]
        def vectors(self, lm: Any, rows: Any) -> Tensor:
            seen.append((lm.vectors.clone(), lm.outputs.clone()))
            return super().vectors(lm, rows)

    with torch.no_grad():
        for one in part.values:
            one.mul_(2)
    parts = {"x": Watching(lm.parameters["bert.embeddings.word_embeddings.weight"][:2]), "all": part}
    lm.read([Job(row(lm, "{@x}{text} {mask}", parts, text="a"), (Vocabulary(),), parts)])
    own = bare("bert").get_input_embeddings().weight
    assert torch.equal(seen[0][0], own)
    assert torch.equal(seen[0][1], own)


def test_biases_are_all_there_are() -> None:
    config = BertConfig(
        vocab_size=50, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16, pad_token_id=0
    )
    lm = wrap(BertForMaskedLM(config), wordpiece(), name="count", kind="masked")
    part = biases(lm)
    assert sum(one.numel() for one in part.parameters()) == 218
    assert all(name.endswith("bias") for name in part.names)


def test_biases_of_keys_get_no_gradient_and_others_do() -> None:
    lm = tiny("bert")
    part = biases(lm)
    read(lm, {"biases": part}).square().sum().backward()
    for name, one in zip(part.names, part.values, strict=True):
        size = float(one.grad.abs().max())
        assert size < 1e-6 if "attention.self.key" in name else size > 0, name


def test_two_parts_do_not_replace_the_same_weight() -> None:
    lm = tiny("bert")
    with pytest.raises(CannotAttach, match="part `b` and another part both replace"):
        read(lm, {"a": full(lm), "b": biases(lm)})


def test_weights_of_another_model_are_refused() -> None:
    with pytest.raises(CannotAttach, match="tiny-roberta has no parameter `bert"):
        read(tiny("roberta"), {"all": full(tiny("bert"))})
    name = "bert.embeddings.LayerNorm.weight"
    with pytest.raises(CannotAttach, match=r"is \(3,\) here and \(32,\) in tiny-bert"):
        read(tiny("bert"), {"all": Values({name: torch.ones(3)})})


@pytest.mark.parametrize("name", ["bert", "t5"])
def test_reading_and_training_leave_every_bit_of_the_model(name: str) -> None:
    lm = tiny(name)
    before = fingerprint(lm)
    part = full(lm)
    optimiser = torch.optim.SGD(part.parameters(), lr=0.1)
    read(lm, {"all": part}).square().mean().backward()
    optimiser.step()
    assert float((read(lm, {"all": part}) - read(lm, {})).detach().abs().max()) > 1e-4
    assert fingerprint(lm) == before


def test_an_error_inside_a_pass_puts_the_weights_back() -> None:
    lm = tiny("bert")
    with pytest.raises(IndexError), lm.weights.swapped({name: one * 2 for name, one in lm.parameters.items()}):
        raise IndexError
    assert torch.equal(read(lm, {}), read(tiny("bert"), {}))
    assert all("weight" not in module.__dict__ for module in lm.model.modules())


@pytest.mark.parametrize("name", ["bert", "gpt2", "t5"])
def test_threads_do_not_see_each_others_parts(name: str) -> None:
    lm = tiny(name)
    choices: list[dict[str, Any]] = [
        {"lora": moved(lora(lm, rank=2))}, {}, {"prefix": normal(lm, 3, seed=0)}, {"all": full(lm)},
    ]  # fmt: skip
    with torch.no_grad():
        wanted = [read(lm, parts) for parts in choices]
    wrong: list[float] = []

    def work(at: int) -> None:
        with torch.no_grad():
            for _ in range(15):
                wrong.append(float((read(lm, choices[at]) - wanted[at]).abs().max()))

    threads = [Thread(target=work, args=(at,)) for at in range(len(choices))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(wrong) == 60
    assert max(wrong) == 0
