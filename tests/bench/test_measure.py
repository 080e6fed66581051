"""Measuring one contender on one task."""

from dataclasses import replace
from functools import partial

import pytest

from promptatlas.bench.measure import Contender, majority, measured, naive_bayes
from promptatlas.data.example import Example
from promptatlas.data.metric import measure
from promptatlas.data.task import Task
from promptatlas.errors import SettingError
from promptatlas.methods.contextual_calibration import ContextualCalibration
from promptatlas.methods.fine_tuning import FineTuning
from promptatlas.methods.prefix_tuning import PrefixTuning
from promptatlas.methods.prompt_tuning import PromptTuning
from promptatlas.prompting import Ensemble, Prompt
from promptatlas.prompting.make import prompt
from promptatlas.testing.tasks import toy_tags, toy_tags_prompt
from promptatlas.testing.tiny import tiny
from promptatlas.train.needs import Needs
from promptatlas.train.run import Event, Run


def examples(*pairs: tuple[str, str]) -> tuple[Example, ...]:
    return tuple(Example({"text": text}, label, str(at)) for at, (text, label) in enumerate(pairs))


TASK = Task(
    name="pets",
    kind="label",
    fields=("text",),
    labels=("down", "up"),
    train=examples(("the cat sat", "up"), ("a dog sat", "down"), ("the cat slept", "up")),
    test=examples(("the cat", "up"), ("the cat ran", "up"), ("a dog", "down"), ("a dog ran", "up")),
)
START = prompt("{text} It was {mask}.", {"up": "good", "down": "bad"})


def test_the_majority_gives_the_commonest_label():
    figures, hits = majority(TASK)
    assert figures["accuracy"] == 0.75
    assert (figures["trained"], figures["stored"]) == (0, 0)
    assert hits == "1101"


def test_of_equally_common_labels_the_first_is_the_majority():
    balanced = Task(
        name="pets", kind="label", fields=("text",), labels=("down", "up"), train=TASK.train[:2], test=TASK.test
    )
    assert majority(balanced)[0]["accuracy"] == 0.25


def test_the_commonest_tag_of_all_is_every_items():
    task = toy_tags()
    figures, hits = majority(replace(task, metric="accuracy"))
    right = sum(tag == "O" for one in task.test for tag in one.target)
    assert figures["accuracy"] == pytest.approx(right / sum(len(one.target) for one in task.test))
    assert majority(task)[0]["span_f1"] == 0
    assert hits == ""


def test_a_contender_is_measured_on_tags():
    contender = Contender("tagged", (FineTuning(steps=2),))
    figures, learned, hits = measured(contender, tiny("bert"), toy_tags(test=4), toy_tags_prompt())
    assert set(figures) == {"span_f1", "trained", "stored", "seconds", "answering"}
    assert learned.labels == toy_tags().labels
    assert hits == ""


def test_naive_bayes_has_no_tags():
    with pytest.raises(SettingError) as caught:
        naive_bayes(toy_tags())
    assert str(caught.value) == "naive Bayes gives a text one label, and `toy tags` has tags\n\nhint: leave it out"


def test_naive_bayes_counts_words():
    figures, hits = naive_bayes(TASK)
    assert figures["accuracy"] == 0.75  # "a dog ran" is taken for the dog's
    assert hits == "1110"
    words = ("the", "cat", "sat", "dog", "slept")  # scikit-learn leaves out words of one letter
    assert figures["trained"] == 2 * len(words) + 2
    assert figures["stored"] == 8 * (2 * len(words) + 2) + sum(map(len, words))


def test_a_contender_without_methods_is_the_prompt_as_it_is():
    figures, learned, hits = measured(Contender("zero-shot"), tiny("bert"), TASK, START)
    assert learned is START
    right = [
        one.value == two.target for one, two in zip(START.predict(tiny("bert"), TASK.test), TASK.test, strict=True)
    ]
    assert figures["accuracy"] == sum(right) / 4
    assert [one == "1" for one in hits] == right
    assert figures["trained"] == 0
    assert 0 < figures["stored"] < 2000


def test_methods_are_applied_one_after_the_other():
    events: list[Event] = []
    chain = (PromptTuning(length=3, steps=2, batch=2), ContextualCalibration())
    begin = partial(Run, listen=events.append)
    figures, learned, _ = measured(Contender("both", chain), tiny("bert"), TASK, START, begin=begin)
    assert [step.method for step in learned.history] == ["prompt_tuning", "contextual_calibration"]
    assert figures["trained"] == 3 * 32
    assert figures["stored"] > 4 * 3 * 32
    assert figures["seconds"] > 0
    assert [event.done for event in events if event.what == "tune"] == [1, 2]


def test_a_task_of_texts():
    writing = replace(
        TASK,
        kind="text",
        labels=(),
        metric="",
        train=(Example({"text": "the cat"}, ("a dog", "a dog ran")), Example({"text": "rain"}, "the hill")),
        test=(Example({"text": "the cat"}, ("a dog", "the dog")), Example({"text": "a hill"}, "the rain fell")),
    )
    start, lm = prompt("{text} {mask}", view=writing.view), tiny("gpt2", scale=6.0)
    zero, *_ = measured(Contender("zero-shot"), lm, writing, start)
    assert zero["bleu"] == measure("text", [one.target for one in writing.test],
                                   [one.value for one in start.predict(lm, writing.test)])["bleu"].value  # fmt: skip
    tuned, learned, hits = measured(Contender("prefix", (PrefixTuning(length=2, mid=0, steps=1),)), lm, writing, start)
    assert tuned["trained"] == 2 * 2 * 2 * 32  # layers, keys and values, positions, width
    assert 0 <= tuned["bleu"] <= 100
    assert learned.writes
    assert hits == ""


def test_nothing_goes_on_from_an_ensemble():
    class Doubled:
        name, needs = "doubled", Needs()

        def fit(self, lm, task, start: Prompt, *, run=None) -> Ensemble:
            return Ensemble(prompts=(start, start))

    figures, *_ = measured(Contender("two", (Doubled(),)), tiny("bert"), TASK, START)
    assert figures["trained"] == 0
    with pytest.raises(SettingError, match="`two` goes on from an ensemble"):
        measured(Contender("two", (Doubled(), ContextualCalibration())), tiny("bert"), TASK, START)
