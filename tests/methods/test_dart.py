"""DART: the sheet's oracles and invariants."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from promptatlas.artifact.load import load
from promptatlas.artifact.save import save
from promptatlas.data.example import Example
from promptatlas.errors import NeedsError, SettingError
from promptatlas.methods.dart import Dart
from promptatlas.parts.head import Said
from promptatlas.prompting import Prompt
from promptatlas.score.soft import LabelVectors
from promptatlas.score.words import Words
from promptatlas.testing.tasks import toy, toy_prompt
from promptatlas.testing.tiny import names, tiny
from promptatlas.train.fluency import Fluency, recovered
from promptatlas.train.loss import Batch, generator

TASK = toy()


def untrained(name: str, **settings: object) -> Prompt:
    return Dart(steps=1, lr=1e-12, **settings).fit(tiny(name), TASK, toy_prompt())  # type: ignore[arg-type]


def test_worked_example() -> None:
    """p = 0.25 under the right label and a wrong one; logits (2, 0)."""
    logp = torch.tensor([0.25]).log()
    assert float(recovered(logp, True)) == pytest.approx(1.3863, abs=1e-4)
    assert float(recovered(logp, False)) == pytest.approx(0.2877, abs=1e-4)
    both = (recovered(logp, True) + recovered(logp, False)) / 2
    assert float(both) == pytest.approx(0.8370, abs=1e-4)
    assert float(-torch.tensor([2.0, 0.0]).log_softmax(-1)[0]) == pytest.approx(0.1269, abs=1e-4)
    assert bool(recovered(torch.zeros(1), False).isfinite())


@pytest.mark.parametrize("name", names("masked"))
@pytest.mark.parametrize("frozen", [True, False])
def test_before_training_it_is_the_plain_prompt(name: str, frozen: bool) -> None:
    lm = tiny(name)
    start = untrained(name, frozen=frozen, fluency=0.0)
    torch.testing.assert_close(start.score(lm, TASK.test), toy_prompt().score(lm, TASK.test), atol=1e-5, rtol=0)


def test_template_labels_and_weights_all_move() -> None:
    lm = tiny("bert")
    before = {name: one.clone() for name, one in lm.parameters.items()}
    start, end = untrained("bert"), Dart(steps=4).fit(lm, TASK, toy_prompt())
    for part in ("dart_0", "label_vectors", "weights"):
        moved = [name for name, one in end.parts[part].tensors().items()
                 if not torch.allclose(one, start.parts[part].tensors()[name], atol=1e-6)]  # fmt: skip
        assert moved, part
    assert all(torch.equal(one, before[name]) for name, one in lm.parameters.items())


def test_frozen_it_trains_vectors_and_labels_alone() -> None:
    prompt = Dart(steps=2, frozen=True).fit(tiny("bert"), TASK, toy_prompt())
    assert set(prompt.parts) == {"dart_0", "label_vectors"}


def test_every_piece_has_a_vector_of_its_own() -> None:
    prompt = replace(toy_prompt(), template=toy_prompt().template.parse("good good {text} was {mask} good"))
    tuned = Dart(steps=1, frozen=True).fit(tiny("bert"), TASK, prompt)
    assert [tuned.parts[f"dart_{at}"].length for at in range(3)] == [2, 1, 1]


def test_labels_may_begin_alike_and_start_from_their_pieces_mean() -> None:
    lm = tiny("bert")
    words = Words.of({"pets": "very good", "weather": "very bad"})
    tuned = Dart(steps=1, lr=1e-12, frozen=True).fit(lm, TASK, replace(toy_prompt(), words=words))
    before = toy_prompt().template.before()
    means = [lm.outputs[list(lm.word(word, before))].mean(0) for word in ("very good", "very bad")]
    torch.testing.assert_close(tuned.parts["label_vectors"].tensors()["weight"], torch.stack(means), atol=1e-6, rtol=0)


def batch(count: int = 6, step: int = 0) -> Batch:
    return Batch(TASK.train[:count], tuple(range(count)), step, generator(0), seed=3)


def test_the_fluency_term_by_hand() -> None:
    """The label's row stands at the slot, masks stand for words, and each word's probability is read."""
    lm, prompt = tiny("bert"), untrained("bert", frozen=True)
    fluent, some = Fluency(0.5, "label_vectors"), batch()
    found = fluent(prompt, lm, some).detach()
    rows = prompt.parts["label_vectors"].weight.detach()
    for at, example in enumerate(some.examples):
        draw = some.own(at)
        label = int(torch.randint(2, (), generator=draw))
        (row,) = prompt.reader(lm).encode(prompt.lines(lm, [example])[0])
        (text,) = (span for span in row.spans if span.kind == "field")
        chances = torch.rand(text.end - text.start, generator=draw)
        hidden = [text.start + i for i, chance in enumerate(chances.tolist()) if chance < 0.5]
        vectors = lm.vectors[list(row.ids)].clone()
        (soft,) = (span for span in row.spans if span.kind == "part")
        vectors[soft.start : soft.end] = prompt.parts["dart_0"].weight.detach()
        vectors[hidden] = lm.vectors[lm.mask]
        vectors[row.slots[0].positions[0]] = rows[label]
        with torch.no_grad():
            logp = lm.model(inputs_embeds=vectors[None]).logits[0].log_softmax(-1)
        p = torch.stack([logp[i, row.ids[i]] for i in hidden]).exp() if hidden else torch.zeros(0)
        target = torch.full_like(p, float(prompt.labels[label] == example.target))
        wanted = torch.nn.functional.binary_cross_entropy(p, target) if hidden else torch.tensor(0.0)
        torch.testing.assert_close(found[at], wanted, atol=1e-5, rtol=0)


def test_half_of_the_labels_put_in_are_right() -> None:
    draws = [int(torch.randint(2, (), generator=batch(32, step).own(at))) for step in range(8) for at in range(32)]
    right = [draw == TASK.labels.index(str(TASK.train[at % 32].target)) for at, draw in enumerate(draws)]
    assert 0.35 < sum(right) / len(right) < 0.65


def test_nothing_masked_is_no_loss() -> None:
    lm, prompt = tiny("bert"), untrained("bert", frozen=True)
    assert Fluency(0.0, "label_vectors")(prompt, lm, batch()).tolist() == [0.0] * 6
    empty = Batch((Example({"text": ""}, "pets"),), (0,), 0, generator(0))
    assert Fluency(1.0, "label_vectors")(prompt, lm, empty).tolist() == [0.0]


def test_gradients_reach_template_and_labels() -> None:
    lm, prompt = tiny("bert"), untrained("bert", frozen=True)
    for part in prompt.trainable().values():
        part.requires_grad_(True)
    Fluency(1.0, "label_vectors")(prompt, lm, batch()).sum().backward()
    assert all(bool(prompt.parts[part].weight.grad.abs().sum() > 0) for part in ("dart_0", "label_vectors"))
    assert prompt.parts["label_vectors"].bias.grad is None, "a label that stands in the text has no bias"


def test_splitting_a_batch_changes_nothing() -> None:
    lm, prompt, fluent = tiny("bert"), untrained("bert", frozen=True), Fluency(0.5, "label_vectors")
    whole, some = fluent(prompt, lm, batch()).detach(), batch()
    halves = [
        fluent(prompt, lm, Batch(some.examples[at : at + 3], some.indices[at : at + 3], 0, generator(1), seed=3))
        for at in (0, 3)
    ]
    torch.testing.assert_close(torch.cat(halves).detach(), whole, atol=1e-5, rtol=0)


def test_no_weight_is_no_term() -> None:
    lm = tiny("bert")
    none = Dart(steps=3, fluency=0.0).fit(lm, TASK, toy_prompt())
    masked = Dart(steps=3, fluency=0.0, rate=0.9).fit(lm, TASK, toy_prompt())
    assert none == masked
    assert none != Dart(steps=3, fluency=1.0, rate=0.9).fit(lm, TASK, toy_prompt())


def test_what_was_learned_is_what_is_loaded(tmp_path: Path) -> None:
    lm = tiny("roberta")
    tuned = Dart(steps=3, among="vocabulary").fit(lm, TASK, toy_prompt())
    again = load(save(tuned, tmp_path / "dart"))
    assert again == tuned
    assert isinstance(again, Prompt)
    assert isinstance(again.words, LabelVectors)
    assert again.words.among == "vocabulary"
    torch.testing.assert_close(again.score(lm, TASK.test), tuned.score(lm, TASK.test), atol=1e-6, rtol=0)


def test_a_label_said_is_rebuilt() -> None:
    said = Said(untrained("bert", frozen=True).parts["label_vectors"], 1)
    again = Said.build(said.config(), said.tensors())
    assert torch.equal(again.vectors(tiny("bert"), ()), said.vectors(tiny("bert"), ()))


def test_says_what_is_wrong() -> None:
    with pytest.raises(NeedsError, match="`dart` needs a masked model"):
        Dart().fit(tiny("gpt2"), TASK, toy_prompt())
    with pytest.raises(SettingError, match=r"`rate` is 1\.5"):
        Fluency(1.5, "label_vectors")
    prompt = untrained("bert", frozen=True)
    with pytest.raises(NeedsError, match="labels can't stand at a slot of `tiny-gpt2`"):
        Fluency(0.5, "label_vectors")(prompt, tiny("gpt2"), batch())


def test_learns_the_toy_task() -> None:
    lm, task = tiny("bert"), toy(train=64, seed=1)
    tuned = Dart(steps=60, batch=12, lr=3e-3).fit(lm, task, toy_prompt())
    answers = tuned.predict(lm, task.test)
    assert sum(one.value == example.target for one, example in zip(answers, task.test, strict=True)) >= 29
