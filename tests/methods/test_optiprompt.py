"""OptiPrompt: facts over a vocabulary of candidates, the sheet's invariants and controls."""

import random
from dataclasses import replace

import pytest
import torch

from promptatlas.data.example import Example
from promptatlas.data.task import Task
from promptatlas.errors import DataError, NeedsError, SettingError, WordError
from promptatlas.methods.optiprompt import OptiPrompt
from promptatlas.parts.controls import redrawn
from promptatlas.prompting import Prompt
from promptatlas.score.candidates import askable, candidates
from promptatlas.score.soft import Classifier
from promptatlas.score.words import Words
from promptatlas.testing.tasks import toy_prompt
from promptatlas.testing.tiny import names, tiny
from promptatlas.text.template import Template
from promptatlas.train.loss import Batch, generator, nll_among_all

SUBJECTS = ("cat", "dog", "rain", "hill", "town", "mat", "movie", "film")
OBJECTS = {"cat": "good", "dog": "good", "rain": "bad", "hill": "bad", "town": "great", "mat": "great"}


def facts(count: int, seed: int) -> tuple[Example, ...]:
    rng = random.Random(seed)
    drawn = [(rng.choice(("the", "old", "grey", "a")), rng.choice(list(OBJECTS))) for _ in range(count)]
    return tuple(Example({"sub": f"{first} {noun}"}, OBJECTS[noun]) for first, noun in drawn)


TASK = Task(
    name="kin", kind="label", fields=("sub",), labels=("good", "bad", "great"), train=facts(48, 0), dev=facts(24, 1)
)
WORDS = Words.of({one: one for one in ("good", "bad", "great", "fine", "sports", "news")})
PROMPT = Prompt(template=Template.parse("The {sub} is {mask} ."), words=WORDS)


@pytest.mark.parametrize("name", names("masked"))
def test_started_from_the_template_it_is_the_template(name: str) -> None:
    lm = tiny(name)
    words = candidates(WORDS, lm, PROMPT.template)
    hard = replace(PROMPT, words=words)
    untrained = OptiPrompt(epochs=1, lr=1e-12).fit(lm, replace(TASK, train=TASK.train[:4]), PROMPT)
    torch.testing.assert_close(untrained.score(lm, TASK.dev), hard.score(lm, TASK.dev), atol=1e-5, rtol=0)


def test_every_piece_of_the_template_is_a_vector() -> None:
    prompt = OptiPrompt(epochs=1).fit(tiny("bert"), TASK, PROMPT)
    assert str(prompt.template) == "{start}{@opti_0} {sub}{@opti_1} {mask}{@opti_2}"
    assert [prompt.parts[f"opti_{i}"].length for i in range(3)] == [1, 1, 1]


def test_random_vectors_stand_between_subject_and_object() -> None:
    lm = tiny("bert")
    prompt = OptiPrompt(start="random", length=5, epochs=1, lr=1e-12).fit(lm, TASK, PROMPT)
    assert str(prompt.template) == "{sub}{@opti_0} {mask} ."
    weight = prompt.parts["opti_0"].tensors()["weight"]
    assert weight.shape == (5, 32)
    assert float(weight.std()) == pytest.approx(0.02, rel=0.2)


def test_the_loss_is_of_the_whole_vocabulary() -> None:
    lm = tiny("bert")
    batch = Batch(TASK.train[:3], (0, 1, 2), 0, generator(0))
    logits = torch.stack([_logits(PROMPT, one) for one in batch.examples])
    right = torch.tensor([lm.word(str(one.target), PROMPT.template.before())[0] for one in batch.examples])
    by_hand = torch.nn.functional.cross_entropy(logits, right, reduction="none")
    torch.testing.assert_close(nll_among_all(PROMPT, lm, batch).detach(), by_hand, atol=1e-5, rtol=0)


def _logits(prompt: Prompt, example: Example) -> torch.Tensor:
    lm = tiny("bert")
    (row,) = prompt.reader(lm).encode(prompt.lines(lm, [example])[0])
    ids = torch.tensor([row.ids])
    with torch.no_grad():
        return lm.model(input_ids=ids).logits[0, row.slots[0].positions[0]]


def test_only_the_vectors_move() -> None:
    lm = tiny("bert")
    before = {name: one.clone() for name, one in lm.parameters.items()}
    start = OptiPrompt(epochs=1, lr=1e-12).fit(lm, TASK, PROMPT)
    end = OptiPrompt(epochs=4, lr=0.05).fit(lm, TASK, start)
    assert set(end.trainable()) == {"opti_0", "opti_1", "opti_2"}
    assert all(torch.equal(one, before[name]) for name, one in lm.parameters.items())


def test_it_learns_on_a_model_that_hears_its_input() -> None:
    lm = tiny("bert", scale=6.0)
    prompt = OptiPrompt(start="random", epochs=40, lr=0.1).fit(lm, TASK, PROMPT)
    figures = prompt.history[-1].figures
    assert figures["dev_accuracy"] > max(figures["start_dev_accuracy"], figures["dev_majority"])


def test_the_start_is_kept_where_nothing_is_better() -> None:
    lm = tiny("bert")
    same = OptiPrompt(epochs=1, lr=1e-12).fit(lm, TASK, PROMPT)
    hard = OptiPrompt(epochs=1, lr=1e-12, seed=1).fit(lm, TASK, PROMPT)
    assert torch.equal(same.parts["opti_0"].weight, hard.parts["opti_0"].weight)
    assert torch.equal(same.parts["opti_0"].weight.detach(), lm.vectors[list(lm.tokens("the"))])
    assert same.history[-1].figures["dev_accuracy"] == same.history[-1].figures["start_dev_accuracy"]


def test_answers_of_several_tokens_are_left_out_and_counted() -> None:
    lm = tiny("bert")
    more = Words.of({**{one: one for one in TASK.labels}, "several": "unfortunately yes"})
    odd = (Example({"sub": "cat"}, "several"), TASK.train[0])
    task = replace(TASK, labels=(*TASK.labels, "several"), train=(*TASK.train, *odd))
    prompt = OptiPrompt(epochs=1).fit(lm, task, replace(PROMPT, words=more))
    assert prompt.labels == TASK.labels
    distinct = len({(str(one.fields), one.target) for one in TASK.train})
    assert prompt.history[-1].figures["facts"] == distinct
    assert prompt.history[-1].figures["facts_left_out"] == len(task.train) - distinct


def test_the_majority_is_told_beside_it() -> None:
    train = tuple(Example({"sub": one}, "bad" if one in ("rain", "hill") else "good") for one in SUBJECTS)
    dev = tuple(Example({"sub": f"old {one}"}, "good" if one == "cat" else "bad") for one in ("cat", "dog", "mat"))
    prompt = OptiPrompt(epochs=1).fit(tiny("bert"), replace(TASK, train=train, dev=dev), PROMPT)
    assert prompt.history[-1].figures["dev_majority"] == pytest.approx(1 / 3)


def test_controls_draw_weights_anew_and_leave_the_model() -> None:
    lm = tiny("bert")
    whole, table = redrawn(lm, "all", seed=0), redrawn(lm, "embeddings", seed=0)
    assert set(whole.names) == set(lm.parameters)
    assert [lm.parameters[name].shape for name in table.names] == [lm.vectors.shape]
    values = whole.tensors()
    for name, one in values.items():
        if one.dim() > 1:
            assert float(one.std()) == pytest.approx(0.02, rel=0.15), name
        else:
            assert torch.equal(one, torch.full_like(one, 0.0 if name.endswith("bias") else 1.0)), name
    assert torch.equal(redrawn(lm, "all", seed=0).tensors()[name], values[name])
    controlled = OptiPrompt(epochs=1, control="all").fit(lm, TASK, PROMPT)
    assert set(controlled.trainable()) == {"opti_0", "opti_1", "opti_2"}
    assert not torch.allclose(controlled.score(lm, TASK.dev), OptiPrompt(epochs=1).fit(lm, TASK, PROMPT).score(
        lm, TASK.dev
    ), atol=1e-3)  # fmt: skip


def test_says_what_is_wrong_before_any_work() -> None:
    lm = tiny("bert")
    with pytest.raises(NeedsError, match="needs dev examples, and `kin` has none"):
        OptiPrompt().fit(lm, replace(TASK, dev=()), PROMPT)
    with pytest.raises(WordError, match="of 2 answers, 0 are one token in tiny-bert"):
        candidates(Words.of({"a": "unfortunately yes", "b": "very good"}), lm, PROMPT.template)
    with pytest.raises(DataError, match="no answer of the 2 dev examples is among the 6 words"):
        askable([Example({}, "x"), Example({}, "y")], WORDS, "dev")
    with pytest.raises(SettingError, match="answers are chosen among words, and this prompt has none"):
        OptiPrompt().fit(lm, TASK, replace(toy_prompt(), words=Classifier(labels=TASK.labels)))
