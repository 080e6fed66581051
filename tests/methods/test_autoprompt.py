"""AutoPrompt: what a search may do, what it gives, and whether the metric rises on a real model."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from promptatlas.artifact.load import load as open_prompt
from promptatlas.artifact.save import save
from promptatlas.data.example import Example
from promptatlas.data.read import read_task
from promptatlas.data.task import Task
from promptatlas.errors import DataError, NeedsError, SettingError, TemplateError, WordError
from promptatlas.lm.lm import LM
from promptatlas.lm.load import load
from promptatlas.methods import autoprompt
from promptatlas.methods.autoprompt import AutoPrompt
from promptatlas.parts.tokens import Tokens
from promptatlas.parts.vectors import Vectors
from promptatlas.prompting import Prompt
from promptatlas.score.words import Words
from promptatlas.search.measure import Measure, measured
from promptatlas.testing.tiny import tiny
from promptatlas.text.template import Template
from promptatlas.train.run import Cancelled, Event, Run

TEXTS = ("the cat sat", "a dog ran over the hill", "rain fell", "the old town", "a good book", "the room is dull")
EXAMPLES = tuple(Example({"text": text}, ("up", "down")[at % 2], str(at)) for at, text in enumerate(TEXTS))
TASK = Task(name="t", kind="label", fields=("text",), labels=("up", "down"), train=EXAMPLES[:4], dev=EXAMPLES[4:])
PROMPT = Prompt(template=Template.parse("{text} It was {mask}"), words=Words.of({"up": "good", "down": "bad"}))


def small(**settings: Any) -> AutoPrompt:
    return AutoPrompt(**{"length": 2, "candidates": 4, "iterations": 6, "batch": 2, "draws": 1, **settings})


def trigger(prompt: Any) -> tuple[int, ...]:
    part = prompt.parts["trigger"]
    assert isinstance(part, Tokens)
    return part.ids


class Watch:
    """Remembers what was tried on which examples, and with what result."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[list[tuple[int, ...]], tuple[Example, ...], list[Measure]]] = []
        self.pulled: list[tuple[Example, ...]] = []
        monkeypatch.setattr(autoprompt, "measured", self.measured)
        self.pull = autoprompt.pull
        monkeypatch.setattr(autoprompt, "pull", self.pulling)

    def measured(
        self, prompt: Prompt, lm: LM, part: str, values: Sequence[Tokens], examples: Sequence[Example], among: str
    ) -> list[Measure]:
        found = measured(prompt, lm, part, values, examples, among)
        self.calls.append(([one.ids for one in values], tuple(examples), found))
        return found

    def pulling(self, prompt: Prompt, lm: LM, part: str, batches: Any, loss: Any) -> Any:
        self.pulled.append(tuple(one for batch in batches for one in batch))
        return self.pull(prompt, lm, part, batches, loss)

    @property
    def steps(self) -> list[tuple[list[tuple[int, ...]], tuple[Example, ...], list[Measure]]]:
        return [call for call in self.calls if len(call[0]) > 1]


def only(monkeypatch: pytest.MonkeyPatch, allowed: Sequence[int]) -> None:
    """Let nothing but these tokens be tried."""
    monkeypatch.setattr(autoprompt, "unfit", lambda lm, **_: frozenset(range(len(lm.vectors))) - set(allowed))


def test_a_step_tries_swaps_at_one_place_on_other_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(monkeypatch)
    small(length=3, iterations=8, patience=None).fit(tiny("bert"), TASK, PROMPT)
    assert len(watch.steps) == len(watch.pulled) == 8
    places = set()
    for (tried, fresh, _), pulled in zip(watch.steps, watch.pulled, strict=True):
        differ = {tuple(at for at in range(3) if one[at] != tried[0][at]) for one in tried[1:]}
        assert len(tried) == len(set(tried)) == 5
        assert len(differ) == 1
        assert len(places := places | differ) <= 3
        assert {one.key for one in fresh}.isdisjoint(one.key for one in pulled)
    assert all(len(one) == 1 for one in places)
    assert len(places) > 1


@pytest.mark.parametrize("metric", ["likelihood", "accuracy"])
def test_a_swap_is_made_only_where_it_is_better(metric: str, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(monkeypatch)
    found = small(metric=metric, iterations=8, patience=None).fit(tiny("bert"), TASK, PROMPT)
    steps, swaps = watch.steps, 0
    for (tried, _, measures), (after, _, _) in pairwise(steps):
        values = [one.by(metric) for one in measures]
        best = max(values[1:])
        assert after[0] == (tried[values.index(best)] if best > values[0] else tried[0])
        swaps += best > values[0]
    last = [one.by(metric) for one in steps[-1][2]]
    assert found.history[-1].figures["swaps"] == swaps + (max(last[1:]) > last[0])


def test_the_best_on_the_dev_examples_is_what_comes_out(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(monkeypatch)
    found = small(iterations=8, candidates=20).fit(tiny("bert"), TASK, PROMPT)
    judged = [(measures[0], tried[0]) for tried, examples, measures in watch.calls if examples == TASK.dev]
    best = max(measure for measure, _ in judged)
    assert trigger(found) == next(ids for measure, ids in judged if measure == best)
    figures = found.history[-1].figures
    assert (figures["dev_accuracy"], figures["dev_likelihood"]) == best
    assert len(judged) == 1 + int(figures["swaps"]) > 2


def test_more_steps_are_never_worse_on_the_dev_examples() -> None:
    fits = [small(iterations=steps, patience=None).fit(tiny("gpt2"), TASK, PROMPT) for steps in range(5)]
    reached = [(one.history[-1].figures["dev_accuracy"], one.history[-1].figures["dev_likelihood"]) for one in fits]
    assert reached == sorted(reached)
    assert trigger(fits[0]) == tiny("gpt2").tokens(" the") * 2


@pytest.mark.parametrize("among", ["labels", "vocabulary"])
def test_trying_every_token_finds_the_best_one(among: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lm, task, allowed = tiny("llama"), replace(TASK, dev=()), range(70, 100)
    only(monkeypatch, allowed)
    found = small(length=1, candidates=10_000, iterations=1, batch=4, among=among).fit(lm, task, PROMPT)
    everything = [Tokens((token,)) for token in (*allowed, *lm.tokens(" the"))]  # what it starts from, too
    given = replace(PROMPT, template=found.template)
    values = [one.likelihood for one in measured(given, lm, "trigger", everything, task.train, among)]
    assert found.history[-1].figures["train_likelihood"] == pytest.approx(max(values), abs=1e-6)
    assert values[everything.index(Tokens(trigger(found)))] == pytest.approx(max(values), abs=1e-6)


def test_without_dev_examples_the_training_examples_stand_in_and_the_history_says_so() -> None:
    figures = small(iterations=2).fit(tiny("bert"), replace(TASK, dev=()), PROMPT).history[-1].figures
    assert {"train_accuracy", "train_likelihood", "steps", "swaps", "calls", "trigger"} == set(figures)
    assert figures["calls"] == 2 * (2 + 5 * 2)


def test_the_model_and_what_was_given_stay_as_they_were() -> None:
    lm = tiny("bert")
    before = {name: one.clone() for name, one in lm.parameters.items()}
    soft = Vectors(lm.vectors[7:9])
    given = PROMPT.lead(soft=soft)
    found = small().fit(lm, TASK, given)
    assert all(torch.equal(one, before[name]) and one.grad is None for name, one in lm.parameters.items())
    assert soft.weight.grad is None
    assert set(given.parts) == {"soft"}
    assert found.parts["soft"] is soft
    assert str(given.template) == "{@soft}{text} It was {mask}"
    assert str(found.template) == "{@soft}{text} It was{@trigger} {mask}"


def test_a_seed_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(monkeypatch)
    tried = []
    for seed in (1, 1, 2):
        watch.calls.clear()
        small(seed=seed).fit(tiny("bert"), TASK, PROMPT)
        tried.append([call[0] for call in watch.calls])
    assert tried[0] == tried[1] != tried[2]


@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_marks_label_words_and_capitals_are_never_tried(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lm, watch = tiny(name), Watch(monkeypatch)
    small(candidates=25, iterations=3, spare_labels=True, spare_capitals=True).fit(lm, TASK, PROMPT)
    tokens = {token for tried, _, _ in watch.steps for ids in tried[1:] for token in set(ids) - set(tried[0])}
    assert len(tokens) > 25
    before = PROMPT.template.before()
    assert tokens.isdisjoint(lm.special | {*lm.word("good", before), *lm.word("bad", before)})
    assert not any(lm.text([token]).strip()[:1].isupper() for token in tokens)


def test_label_words_can_be_tried_where_that_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    lm, watch = tiny("bert"), Watch(monkeypatch)
    only(monkeypatch, lm.tokens("good bad"))
    small(iterations=1).fit(lm, TASK, PROMPT)
    assert {*lm.tokens("good bad"), lm.mask} == {token for ids in watch.steps[0][0] for token in ids}


def test_it_stops_when_nothing_has_been_better_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, range(70, 90))
    one = AutoPrompt(length=1, candidates=10_000, iterations=50, batch=4, draws=9, patience=3)
    figures = one.fit(tiny("llama"), TASK, PROMPT).history[-1].figures
    assert (figures["steps"], figures["swaps"]) == (4, 1)  # the first step tried everything


def test_label_words_are_found_and_their_probabilities_summed() -> None:
    found = small(labels=2, iterations=1).fit(tiny("bert"), TASK, PROMPT)
    assert isinstance(found.words, Words)
    assert found.words.over_words == "sum_prob"
    assert [len(some) for some in found.words.words.values()] == [2, 2]
    assert found.labels == ("up", "down")


def test_a_prompt_that_has_a_trigger_goes_on_from_it() -> None:
    first = small(iterations=2, patience=None).fit(tiny("bert"), TASK, PROMPT)
    second = small(iterations=0).fit(tiny("bert"), TASK, first)
    assert trigger(second) == trigger(first)
    assert second.template == first.template
    assert len(second.history) == 2


def test_what_comes_out_can_be_saved(tmp_path: Path) -> None:
    lm = tiny("roberta")
    found = small(iterations=2, start="a good").fit(lm, TASK, PROMPT)
    save(found, tmp_path / "saved")
    again: Any = open_prompt(tmp_path / "saved")
    assert trigger(again) == trigger(found)
    assert torch.equal(again.score(lm, EXAMPLES), found.score(lm, EXAMPLES))


def test_a_stopped_search_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lm, whole = tiny("bert"), small(iterations=5).fit(tiny("bert"), TASK, PROMPT)
    watch = Watch(monkeypatch)
    with pytest.raises(Cancelled):
        small(iterations=5).fit(lm, TASK, PROMPT, run=Run(tmp_path, cancelled=lambda: len(watch.steps) == 3))
    watch.calls.clear()
    resumed = small(iterations=5).fit(lm, TASK, PROMPT, run=Run(tmp_path))
    assert len(watch.steps) == 2
    assert resumed == whole
    assert resumed.history[-1].figures == whole.history[-1].figures


def test_progress_is_told_and_operations_counted() -> None:
    events: list[Event] = []
    small(iterations=3).fit(tiny("bert"), TASK, PROMPT, run=Run(listen=events.append))
    found = [event for event in events if event.what == "search"]
    assert [(event.done, event.total) for event in found] == [(1, 3), (2, 3), (3, 3)]
    assert set(found[-1].figures) == {"swaps", "dev_accuracy"}
    with pytest.raises(Cancelled, match="budget"):
        small().fit(tiny("bert"), TASK, PROMPT, run=Run(budget=1.0))


def test_a_long_text_is_cut_and_the_trigger_is_not() -> None:
    lm = tiny("bert")
    long = [replace(one, fields={"text": "the cat sat on the mat " * 60}) for one in EXAMPLES[:4]]
    found = small(iterations=2).fit(lm, replace(TASK, train=tuple(long), dev=()), PROMPT)
    row = found.reader(lm).encode(found.lines(lm, long[:1])[0])[0]
    (span,) = (span for span in row.spans if span.name == "trigger")
    assert row.ids[span.start : span.end] == trigger(found)
    assert row.cut() > 0


def fails(
    error: type[Exception], match: str, *, lm: str = "bert", task: Task = TASK, template: str = "", **settings: Any
) -> None:
    given = replace(PROMPT, template=Template.parse(template)) if template else PROMPT
    with pytest.raises(error, match=match):
        small(**settings).fit(tiny(lm), task, given)


def test_what_can_not_be_searched_is_refused() -> None:
    fails(NeedsError, "`autoprompt` needs a template with a slot", template="{text}")
    fails(TemplateError, "searched for one slot, and `.*` has 2", template="{text} {mask:a} {mask:b}")
    fails(TemplateError, "a causal model can't see what follows the slot", lm="gpt2", template="{text} {mask} !")
    fails(NeedsError, "`autoprompt` needs a masked or causal model, and `tiny-t5` is seq2seq", lm="t5")
    fails(NeedsError, "`autoprompt` needs train examples", task=replace(TASK, train=()))
    fails(SettingError, r"`a good book` is \d tokens in tiny-bert, .*, and 2 are searched for", start="a good book")
    fails(SettingError, "`length` is 0", length=0)
    fails(SettingError, "no token to choose: .* 0 wanted", candidates=0)
    more = replace(TASK, labels=("up", "down", "side"), dev=(Example({"text": "a"}, "side"),))
    fails(DataError, "'side', which is no label", task=more)


def test_a_label_word_that_is_unknown_is_refused() -> None:
    with pytest.raises(WordError, match="label word `☃` of label `up` is not in the vocabulary"):
        small().fit(tiny("bert"), TASK, replace(PROMPT, words=Words.of({"up": "☃", "down": "bad"})))


def test_other_vectors_under_the_name_are_refused() -> None:
    with pytest.raises(SettingError, match="the part `trigger` is of kind `vectors`"):
        small().fit(tiny("bert"), TASK, PROMPT.plus(trigger=Vectors(torch.zeros(2, 32))))


def test_the_papers_settings_are_settings() -> None:
    assert AutoPrompt(**AutoPrompt.published).candidates == 100  # type: ignore[arg-type]


def test_the_metric_rises_on_a_real_model() -> None:
    lm, task = load("pocket-masked", device="cpu"), read_task("reviews").few(4, seed=0)
    given = Prompt(template=Template.parse(str(task.template)), words=Words.of(task.words or {}))
    method = AutoPrompt(length=3, candidates=6, iterations=4, batch=8, draws=1, patience=None)
    found = method.fit(lm, replace(task, dev=()), given)
    start = replace(found, parts={"trigger": Tokens((lm.mask or 0,) * 3)})
    before, after = measured(start, lm, "trigger", [start.parts["trigger"], found.parts["trigger"]], task.train)
    assert after.likelihood > before.likelihood + 0.05
    assert after.accuracy >= before.accuracy
    assert found.history[-1].figures["train_likelihood"] == pytest.approx(after.likelihood, abs=1e-5)
