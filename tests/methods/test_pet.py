"""PET and iPET from end to end on a toy task."""

from dataclasses import replace
from pathlib import Path

import pytest

from promptatlas.errors import NeedsError
from promptatlas.methods.ipet import IPet
from promptatlas.methods.pet import Pet
from promptatlas.prompting import Ensemble
from promptatlas.score.soft import Classifier
from promptatlas.testing.tasks import toy, toy_prompt
from promptatlas.testing.tiny import tiny
from promptatlas.train.run import Cancelled, Event, Run

TASK = toy(unlabeled=32)
OTHER = ("Just {mask} ! {text}",)
QUICK = Pet(patterns=OTHER, repeats=1, steps=60, batch=8, lr=3e-3, unlabeled_batch=2, student_steps=60)
QUICK_I = IPet(
    patterns=OTHER, repeats=1, generations=1, growth=1.5, steps=20, lr=3e-3, unlabeled_batch=2, student_steps=20
)


def accuracy(prompt, lm, task=TASK) -> float:
    told = prompt.predict(lm, task.test)
    return sum(one.value == two.target for one, two in zip(told, task.test, strict=True)) / len(task.test)


def test_the_classifier_learned_what_its_teachers_said() -> None:
    lm, start = tiny("bert"), toy_prompt()
    learned = QUICK.fit(lm, TASK, start)
    assert isinstance(learned.words, Classifier)
    assert str(learned.template) == "{text}"
    figures = learned.history[-1].figures
    assert (figures["teachers"], figures["texts"]) == (2, len(TASK.unlabeled))
    assert 0.5 <= figures["agreement"] <= 1
    assert accuracy(learned, lm) >= accuracy(start, lm)
    assert accuracy(learned, lm) > 0.7


def test_the_models_themselves_are_an_ensemble() -> None:
    lm = tiny("bert")
    kept = replace(QUICK, distil=False).fit(lm, replace(TASK, unlabeled=()), toy_prompt())
    assert isinstance(kept, Ensemble)
    assert [str(one.template) for one in kept.prompts] == [str(toy_prompt().template), *OTHER]
    assert accuracy(kept, lm) > 0.7


@pytest.mark.filterwarnings("ignore:no text is found")
@pytest.mark.parametrize("method", [replace(QUICK, steps=20, student_steps=20), QUICK_I], ids=["pet", "ipet"])
@pytest.mark.parametrize("stop", [15, 30])
def test_a_fit_that_was_stopped_ends_as_if_it_had_not_been(method: Pet | IPet, stop: int, tmp_path: Path) -> None:
    lm, events = tiny("bert"), []

    def listen(event: Event) -> None:
        events.append(event)

    whole = method.fit(lm, TASK, toy_prompt())
    run = Run(tmp_path, listen=listen, cancelled=lambda: sum(one.what == "tune" for one in events) >= stop)
    with pytest.raises(Cancelled):
        method.fit(lm, TASK, toy_prompt(), run=run)
    assert method.fit(lm, TASK, toy_prompt(), run=Run(tmp_path)) == whole


def test_generations_do_without_labelled_examples() -> None:
    lm = tiny("bert")
    learned = QUICK_I.fit(lm, replace(TASK, train=()), toy_prompt())
    assert isinstance(learned.words, Classifier)
    assert learned.history[-1].figures["weights"] == "1 1"


def test_without_unlabeled_text_others_are_named() -> None:
    with pytest.raises(NeedsError) as raised:
        QUICK.fit(tiny("bert"), replace(TASK, unlabeled=()), toy_prompt())
    assert raised.value.message == "`pet` needs unlabeled examples, and `toy` has none"
    assert raised.value.hint == "these do without: `pattern_tuning`, `fine_tuning`, `dart`"
