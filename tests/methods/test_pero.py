"""PERO."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch

from promptatlas.data.example import Example
from promptatlas.data.task import Task
from promptatlas.demos.pick import Fixed
from promptatlas.errors import NeedsError, SettingError, TooLong
from promptatlas.lm.lm import LM
from promptatlas.lm.scripted import ScriptedLM
from promptatlas.methods.contextual_calibration import ContextualCalibration
from promptatlas.methods.pero import PERO
from promptatlas.prompting import Prompt
from promptatlas.registry import method
from promptatlas.search.arranged import arranged, losses
from promptatlas.testing.tasks import FILLING, TELLING, toy, toy_prompt
from promptatlas.testing.tiny import tiny
from promptatlas.train.run import Cancelled, Event, Run

TASK = replace(toy(), train=toy().train[:6], dev=toy().dev[:4])
FEW = replace(TASK, train=TASK.train[:4], dev=())
MORE = toy().dev[:6]
WORDS = ("It", "was", "good", "bad", *FILLING, *(word for some in TELLING.values() for word in some))
SOME: Mapping[str, Any] = {"k": 3, "population": 6, "parents": 3, "elites": 1, "generations": 3, "whole": 0}
LEARN: Mapping[str, Any] = {**SOME, "learn": True, "epochs": 1}


def keys(prompt: Prompt) -> tuple[str, ...]:
    assert isinstance(prompt.demos, Fixed)
    return tuple(one.key for one in prompt.demos.examples)


def lost(prompt: Prompt, lm: LM, examples: tuple[Example, ...]) -> float:
    with torch.no_grad():
        scores = prompt.score(lm, examples)
    return -fmean(float(row[prompt.labels.index(str(one.target))]) for row, one in zip(scores, examples, strict=True))


@pytest.mark.parametrize("family", ["bert", "llama", "t5"])
@pytest.mark.parametrize("k", [1, 2, 4])
def test_of_few_orders_it_is_the_best(family: str, k: int) -> None:
    lm, orders = tiny(family), list(permutations(range(4), k))
    fitted = PERO(k=k).fit(lm, FEW, toy_prompt())
    found = losses(toy_prompt(), lm, FEW.train, orders, FEW.train, metric="likelihood", among="labels")
    best = orders[found.index(min(found))]
    figures = fitted.history[-1].figures
    assert keys(fitted) == tuple(FEW.train[at].key for at in best)
    assert figures["order"] == " ".join(str(at + 1) for at in best)
    assert figures["evaluations"] == len(orders)
    assert figures["rows"] == 4 * len(orders)
    assert figures["fitness"] == pytest.approx(min(found), abs=1e-5)
    assert figures["mean"] == pytest.approx(fmean(found), abs=1e-5)
    assert fitted.history[-1].lm["name"] == lm.name


def test_dev_examples_have_the_last_word_and_more_of_them_than_of_training_ones_are_told() -> None:
    lm, task = tiny("bert"), replace(FEW, dev=MORE)
    fitted = PERO(k=2, judged=12).fit(lm, task, toy_prompt())
    every = [arranged(toy_prompt(), task.train, order) for order in permutations(range(4), 2)]
    figures = fitted.history[-1].figures
    assert figures["dev_loss"] == pytest.approx(min(lost(one, lm, task.dev) for one in every), abs=1e-5)
    assert figures["dev_loss"] == pytest.approx(lost(fitted, lm, task.dev), abs=1e-5)
    assert (
        figures["note"]
        == "chosen by 6 dev examples, more than the 4 there are to learn from: this is no few-shot result"
    )
    assert "note" not in PERO(k=2).fit(lm, replace(task, dev=MORE[:4]), toy_prompt()).history[-1].figures


def test_more_generations_lose_no_more() -> None:
    lm = tiny("llama")
    settings = {**SOME, "k": 4, "patience": None}
    found = [
        PERO(**{**settings, "generations": many}).fit(lm, replace(TASK, dev=()), toy_prompt()).history[-1].figures
        for many in (1, 2, 4)
    ]
    fitness = [float(one["fitness"]) for one in found]
    assert fitness == sorted(fitness, reverse=True)
    assert fitness[-1] < fitness[0] <= float(found[0]["mean"])


def test_a_budget_and_patience_end_it() -> None:
    events: list[Event] = []
    fitted = PERO(**SOME, budget=11).fit(
        tiny("bert"), replace(TASK, dev=()), toy_prompt(), run=Run(listen=events.append)
    )
    assert fitted.history[-1].figures["evaluations"] == 11
    assert [one.done for one in events if one.what == "search"] == list(
        range(1, int(fitted.history[-1].figures["generations"]) + 1)
    )

    def unmoved(text: str) -> dict[str, float]:
        return {"good": float(text.count("z")), "bad": 0.5}

    still = PERO(**{**SOME, "generations": 9, "patience": 2}).fit(
        ScriptedLM(WORDS, unmoved), replace(TASK, dev=()), toy_prompt()
    )
    assert still.history[-1].figures["generations"] == 3
    assert still.history[-1].figures["spread"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("family", ["bert", "llama"])
def test_the_vector_is_learned_between_generations(family: str) -> None:
    lm = tiny(family)
    events: list[Event] = []
    settings = {**LEARN, "patience": None}
    fitted = PERO(**settings).fit(lm, TASK, toy_prompt(), run=Run(listen=events.append))
    assert str(fitted.between) == "{@separator}"
    whats = [one.what for one in events if one.what in ("search", "tune")]
    assert whats[:2] == ["search", "tune"]
    assert whats.count("search") == 3
    assert whats[-1] == "search", "what is learned is judged"
    assert fitted.history[-1].figures["dev_loss"] == pytest.approx(lost(fitted, lm, TASK.dev), abs=1e-5)
    again = PERO(**LEARN).fit(lm, TASK, fitted)
    assert str(again.between) == "{@separator}", "it goes on from the vector it has"


def test_a_run_that_was_stopped_goes_on_to_the_same(tmp_path: Path) -> None:
    lm, task = tiny("bert"), TASK
    whole = PERO(**LEARN).fit(lm, task, toy_prompt())
    seen: list[Event] = []
    run = Run(folder=tmp_path, listen=seen.append, cancelled=lambda: sum(one.what == "search" for one in seen) == 2)
    with pytest.raises(Cancelled):
        PERO(**LEARN).fit(lm, task, toy_prompt(), run=run)
    assert PERO(**LEARN).fit(lm, task, toy_prompt(), run=Run(folder=tmp_path)) == whole


def test_it_stands_before_calibration_and_takes_the_place_of_other_demonstrations() -> None:
    lm = tiny("llama")
    first = PERO(**SOME).fit(lm, TASK, toy_prompt())
    second = ContextualCalibration().fit(lm, TASK, first)
    assert second.demos == first.demos
    third = PERO(**SOME).fit(lm, TASK, second)
    assert third.demos == first.demos
    assert not third.calibration


def test_the_paper_has_larger_generations() -> None:
    paper = method("pero", paper=True)
    assert (paper.k, paper.population, paper.parents, paper.elites, paper.generations) == (10, 100, 25, 10, 100)  # type: ignore[attr-defined]
    assert (paper.learn, paper.lr, paper.batch, paper.mutation) == (True, 1e-4, 3, 0.1)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("settings", "task", "told"),
    [
        ({"k": 5}, FEW, "an order of 5 out of 4"),
        ({"k": 1}, replace(FEW, train=FEW.train[:1]), "an order of 1 out of 1"),
        ({"k": 1, "learn": True, "generations": 2}, FEW, "orders of 1 demonstrations"),
        ({"budget": 0}, FEW, "a budget of 0 evaluations"),
        ({"judged": 0}, FEW, "the best 0 of a generation"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], task: Task, told: str) -> None:
    with pytest.raises(SettingError, match=told):
        PERO(**settings).fit(tiny("bert"), task, toy_prompt())


def test_what_it_needs() -> None:
    lm = tiny("bert")
    with pytest.raises(NeedsError, match="`pero` needs train examples"):
        PERO().fit(lm, replace(TASK, train=()), toy_prompt())
    with pytest.raises(NeedsError, match="`pero` needs a model that can do `gradient`"):
        PERO(learn=True).fit(ScriptedLM(WORDS, lambda _: {"good": 1.0}), FEW, toy_prompt())
    long = replace(FEW, train=(*FEW.train, Example({"text": "film " * (lm.window - 9)}, "pets", "long")))
    with pytest.raises(TooLong, match="doesn't hold the longest 4 of 5 demonstrations"):
        PERO().fit(lm, long, toy_prompt())
