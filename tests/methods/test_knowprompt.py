"""KnowPrompt: what is trained when, and what it takes."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from promptatlas.errors import NeedsError, SettingError, TemplateError, WordError
from promptatlas.methods.knowprompt import KnowPrompt
from promptatlas.parts.soften import around
from promptatlas.prompting import Prompt
from promptatlas.prompting.make import prompt
from promptatlas.registry import method
from promptatlas.score.soft import LabelVectors
from promptatlas.testing import check_method, tiny, toy, toy_pairs, toy_pairs_prompt, toy_prompt
from promptatlas.text.template import Template
from promptatlas.train.run import Run

TASK, START = toy_pairs(), prompt("{text} {head!} {mask} {tail!}", {"pets": "good", "weather": "bad"})
NAMES = {"pets": "cat dog", "weather": "rain"}


def moved(one: Prompt, other: Prompt) -> set[str]:
    """Parts whose numbers differ."""
    pairs = {name: (part.tensors(), other.parts[name].tensors()) for name, part in one.parts.items()}
    return {name for name, (a, b) in pairs.items() if any(not torch.equal(a[key], b[key]) for key in a)}


def untrained(**settings: object) -> Prompt:
    return method("knowprompt", steps=1, lr=1e-12, word_lr=1e-12, names=NAMES, **settings).fit(
        tiny("bert"), TASK, START
    )  # type: ignore[return-value]


def test_the_two_things_stand_between_vectors_of_their_type() -> None:
    lm, made = tiny("bert"), untrained(types=("good", "old town"))
    assert str(made.template) == (
        "{text}{@knowprompt_head} {head!}{@knowprompt_head} {mask}{@knowprompt_tail} {tail!}{@knowprompt_tail}"
    )
    ids = [lm.word(word, START.template.before())[0] for word in ("good", "old", "town")]
    vector = made.parts["knowprompt_head"].tensors()["weight"]
    torch.testing.assert_close(vector, lm.vectors[ids].float().mean(0, keepdim=True).detach(), atol=1e-6, rtol=0)
    (row,) = made.reader(lm).encode(made.lines(lm, TASK.test[:1])[0])
    assert [span.name for span in row.spans if span.kind == "part"] == [
        "knowprompt_head", "knowprompt_head", "knowprompt_tail", "knowprompt_tail",
    ]  # fmt: skip


def test_a_field_at_the_beginning_keeps_the_start_mark_in_front() -> None:
    made = around(Template.parse("{head!} {mask} {tail!}: {text}"), "head", "kind")
    assert str(made) == "{start}{@kind}{head!}{@kind} {mask} {tail!}: {text}"
    assert str(around(Template.parse("{text}，{head!}{mask}"), "head", "kind")) == "{text}，{@kind}{head!}{@kind}{mask}"
    assert str(around(Template.parse("{head} and {head}"), "head", "kind")) == "{head} and{@kind} {head}{@kind}"


def test_labels_are_called_by_their_names() -> None:
    lm, made = tiny("bert"), untrained()
    assert made.words == LabelVectors(labels=("pets", "weather"))
    rain = lm.word("rain", START.template.before())
    row = made.parts["label_vectors"].tensors()["weight"][1]
    torch.testing.assert_close(row, lm.outputs[list(rain)].float().mean(0).detach(), atol=1e-6, rtol=0)


def test_in_the_first_of_two_stages_only_vectors_are_trained() -> None:
    seen: list[Prompt] = []
    lm, start = tiny("bert"), untrained()
    run = Run(watch=lambda step, steps, learned: seen.append(learned))
    KnowPrompt(schedule="two_stage", word_steps=2, steps=2, word_lr=1e-2, batch=4).fit(lm, TASK, start, run=run)
    vectors = {"label_vectors", "knowprompt_head", "knowprompt_tail"}
    assert [moved(one, start) for one in seen] == [vectors, vectors, {*vectors, "weights"}, {*vectors, "weights"}]


def test_where_it_was_it_goes_on() -> None:
    lm, start = tiny("bert"), untrained()
    again = method("knowprompt", steps=1, lr=1e-12, word_lr=1e-12).fit(lm, TASK, start)
    torch.testing.assert_close(again.score(lm, TASK.test), start.score(lm, TASK.test), atol=1e-6, rtol=0)
    assert again.template == start.template


@pytest.mark.parametrize("schedule", ["single", "two_stage"])
def test_it_learns_pairs(schedule: str) -> None:
    lm, task = tiny("bert"), toy_pairs(train=64, seed=1)
    settings = {"schedule": schedule, "word_steps": 10, "steps": 60, "batch": 12, "lr": 3e-3, "word_lr": 3e-3}
    fitted = method("knowprompt", **settings).fit(lm, task, START)
    right = [one.value == example.target for one, example in zip(fitted.predict(lm, task.test), task.test, strict=True)]
    assert sum(right) / len(right) >= 0.9


@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_the_contract_in_two_stages(family: str) -> None:
    check_method(KnowPrompt(schedule="two_stage", word_steps=2, steps=2, batch=4), tiny(family), TASK, START)


def test_a_fit_that_is_stopped_keeps_its_first_stage(tmp_path: Path) -> None:
    settings = KnowPrompt(schedule="two_stage", word_steps=2, steps=2, batch=4)
    lm, plain = tiny("bert"), settings.fit(tiny("bert"), TASK, START)
    kept = settings.fit(lm, TASK, START, run=Run(tmp_path / "run"))
    assert kept == plain
    assert settings.fit(lm, TASK, START, run=Run(tmp_path / "run")) == plain


def test_what_it_does_not_take() -> None:
    lm = tiny("bert")
    with pytest.raises(TemplateError, match="doesn't show the field `head`"):
        KnowPrompt().fit(lm, toy(), toy_prompt())
    with pytest.raises(TemplateError, match="doesn't show the field `subject`"):
        KnowPrompt(head="subject").fit(lm, TASK, START)
    with pytest.raises(WordError, match="labels are read at one slot"):
        KnowPrompt().fit(lm, TASK, toy_pairs_prompt())
    with pytest.raises(SettingError, match="nothing of 🐈 is in the vocabulary"):
        KnowPrompt(types=("🐈",)).fit(lm, TASK, START)
    odd = tuple(replace(one, target="(x)" if one.target == "pets" else one.target) for one in TASK.train)
    bare = replace(TASK, labels=("(x)", "weather"), train=odd, dev=(), test=(), words=None)
    with pytest.raises(SettingError, match="no words are left of the label"):
        KnowPrompt().fit(lm, bare, START)
    with pytest.raises(NeedsError, match="needs a masked model"):
        KnowPrompt().fit(tiny("llama"), TASK, START)
