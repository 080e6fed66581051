"""LM-BFF: the sheet's invariants."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from promptatlas.data.example import Example
from promptatlas.data.interval import POLES, Interval
from promptatlas.data.task import Task
from promptatlas.demos.room import capped
from promptatlas.demos.sampled import Sampled
from promptatlas.errors import DataError, NeedsError, TooLong
from promptatlas.lm.lm import LM
from promptatlas.methods.lm_bff import LMBFF
from promptatlas.prompting import Ensemble, Prompt
from promptatlas.prompting.make import prompt as make
from promptatlas.search import propose
from promptatlas.testing.tasks import toy, toy_prompt
from promptatlas.testing.tiny import tiny
from promptatlas.text.runs import TextRun
from promptatlas.text.template import Template
from promptatlas.train.demonstrated import Redrawn, demonstrated
from promptatlas.train.loss import Batch, generator, nll
from promptatlas.train.run import Run
from promptatlas.train.select import ranked

LM_, TASK, START = tiny("bert"), toy(), toy_prompt()
FEW = toy(train=4, dev=4)
FAST: dict[str, Any] = {"steps": 3, "trial_steps": 1, "batch": 4, "draws": 2, "beams": 4, "likely": 4, "candidates": 3}
THREE = Task(
    name="three", kind="label", fields=("one", "two"), labels=("pets", "weather", "news"),
    train=tuple(Example({"one": one.fields["text"], "two": "the town"}, ("pets", "weather", "news")[at % 3], one.key)
                for at, one in enumerate(TASK.train)),
)  # fmt: skip
PAIRS = make("{one} ? {mask} , {two}", {"pets": "good", "weather": "bad", "news": "fine"})


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tiny model writes, by whatever name."""
    monkeypatch.setattr(propose, "load", lambda name, device: tiny(name))


def test_a_demonstration_of_every_label_before_the_input() -> None:
    """In the labels' order, each answered with its own word; one mask in all, and the query not among them."""
    shown = demonstrated(PAIRS, LM_, THREE, share=0.5, draws=1, seed=0)
    lines, _ = shown.lines(LM_, THREE.train)
    rows = shown.reader(LM_).encode(lines)
    for example, line, row in zip(THREE.train, lines, rows, strict=True):
        assert [one.target for one in line.demos] == list(THREE.labels)
        assert example not in line.demos
        assert list(row.ids).count(LM_.mask or -1) == 1
        assert [span.demo for span in row.spans if span.name == "one"] == [0, 1, 2, None]
    runs = [run for run in shown.reader(LM_).runs(lines[0]) if isinstance(run, TextRun) and run.field is None]
    said = ["".join(run.text for run in runs if run.demo == at) for at in range(3)]
    assert said == [f" ? {word} , \n\n" for word in ("good", "bad", "fine")]


def test_every_step_draws_anew_and_none_that_answers() -> None:
    shown = demonstrated(START, LM_, TASK, share=0.5, draws=4, seed=0)
    seen: list[tuple[str, ...]] = []

    def loss(prompt: Prompt, lm: LM, batch: Batch) -> torch.Tensor:
        assert isinstance(prompt.demos, Sampled)
        assert prompt.demos.draws == 1
        seen.append(tuple(one.key for one in prompt.demos.pick(lm, batch.examples)[0]))
        return nll(prompt, lm, batch)

    for step in range(30):
        Redrawn(loss)(shown, LM_, Batch(TASK.train[:2], (0, 1), step, generator(0)))
    assert len(set(seen)) > 15
    assert len(Counter(key for some in seen for key in some)) == 14  # int(31 // 2 * 0.5) of each label
    assert Redrawn(nll).key() != Redrawn(loss).key()


def test_without_demonstrations_the_loss_is_the_labels_share() -> None:
    """Step 0: the logits of the label words alone, under a softmax over labels; in another order, the same turned."""
    batch = Batch(TASK.train[:4], tuple(range(4)), 0, generator(0))
    torch.testing.assert_close(Redrawn(nll)(START, LM_, batch), nll(START, LM_, batch))
    turned = replace(START, words=type(START.words).of(dict(reversed(START.words.words.items()))))  # type: ignore[attr-defined]
    torch.testing.assert_close(turned.score(LM_, TASK.test), START.score(LM_, TASK.test).flip(1))


def test_what_is_found_is_ranked_on_dev_and_told(writes: None) -> None:
    learned = LMBFF(generator="t5", find_words=True, kept=1, **FAST).fit(LM_, FEW, START)
    assert isinstance(learned, Prompt)
    steps = [step.method for step in learned.history]
    assert steps == ["selection", "selection", "lm_bff"]
    templates, words = learned.history[0].figures, learned.history[1].figures
    assert templates["candidates"] <= 4
    assert words["candidates"] == 3
    assert str(templates["chosen"]).partition(": ")[2] == str(learned.template)
    assert learned.template.fields == ("text",)
    assert isinstance(learned.demos, Sampled)
    assert learned.score(LM_, TASK.test).shape == (32, 2)


def test_ranked_by_dev_or_by_parts_of_train() -> None:
    method: Any = LMBFF(demonstrations=False, steps=1)
    some = [replace(START, template=Template.parse(text)) for text in ("{text} It was {mask}", "{mask} : {text}")]
    by_dev = ranked([*some, some[0]], LM_, TASK, method, folds=2, run=Run())
    assert {one.key for one in by_dev} == {one.key for one in some}
    assert [one.history[-1].settings["kind"] for one in by_dev] == ["dev", "dev"]
    assert by_dev[0].history[-1].figures["value"] <= by_dev[1].history[-1].figures["value"]
    without = ranked(some, LM_, replace(TASK, dev=()), method, folds=2, run=Run())
    assert [one.history[-1].settings["kind"] for one in without] == ["cv", "cv"]


def test_several_answer_together(writes: None) -> None:
    learned = LMBFF(generator="t5", members=2, **FAST).fit(LM_, FEW, START)
    assert isinstance(learned, Ensemble)
    assert len({str(one.template) for one in learned.prompts}) == 2
    each = torch.stack([one.score(LM_, TASK.test) for one in learned.prompts])
    torch.testing.assert_close(learned.score(LM_, TASK.test), each.mean(0).log_softmax(-1), atol=1e-5, rtol=1e-5)


def test_what_was_found_is_not_looked_for_again(writes: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    method = LMBFF(generator="t5", find_words=True, kept=1, **FAST)
    whole = method.fit(LM_, FEW, START, run=Run(folder=tmp_path / "run"))
    monkeypatch.setattr(propose, "load", lambda name, device: pytest.fail("written again"))
    monkeypatch.setattr(propose, "likely", lambda *some, **more: pytest.fail("looked for again"))
    again = method.fit(LM_, FEW, START, run=Run(folder=tmp_path / "run"))
    assert [one.key for one in (whole, again) if isinstance(one, Prompt)] == [whole.key] * 2  # type: ignore[union-attr]


def test_numbers_are_demonstrated_by_their_nearer_end() -> None:
    places = {"pets": 4.0, "weather": 1.0}
    train, dev = (
        tuple(replace(one, target=places[str(one.target)]) for one in some) for some in (TASK.train, TASK.dev)
    )
    task = Task(name="numbers", kind="number", fields=("text",), train=train, dev=dev, low=0.0, high=5.0)
    start = make(START.template, {"low": "bad", "high": "good"}, view=task.view)
    learned = LMBFF(find_words=True, **FAST).fit(LM_, task, start)
    assert isinstance(learned, Prompt)
    assert isinstance(learned.view, Interval)
    assert isinstance(learned.demos, Sampled)
    assert learned.demos.labels == POLES
    by_key = {one.key: one.target for one in train}
    assert all((by_key[one.key] > 2.5) == (one.target == "high") for one in learned.demos.index.pool)  # type: ignore[operator]
    assert all(isinstance(one.value, float) for one in learned.predict(LM_, dev))


def test_it_learns_the_toy_task() -> None:
    task = toy(train=64, seed=1)
    learned = LMBFF(demonstrations=False, steps=60, batch=12, lr=3e-3, keep="best").fit(LM_, task, START)
    told = learned.predict(LM_, task.test)
    assert sum(one.value == right.target for one, right in zip(told, task.test, strict=True)) >= 29
    assert "dev_accuracy" in learned.history[-1].figures


def test_fields_are_cut_so_that_every_label_is_shown() -> None:
    long = [Example({"text": "the old cat " * count, "more": "dog"}, "pets") for count in (2, 40, 80)]
    template = Template.parse("{text} It was {mask}")
    assert capped(template, LM_, long[:1], 3) == template
    cut = capped(template, LM_, long, 3)
    (piece,) = (piece for piece in cut.pieces if str(piece).startswith("{text"))
    assert str(piece).startswith("{text|cut(")
    sizes = [len(LM_.encode([cut.render(one.fields)], {})[0]) for one in long]
    assert max(sizes) * 3 <= LM_.window
    assert max(sizes) * 3 > LM_.window - 24
    kept = capped(Template.parse("{text!} It was {mask}"), LM_, long, 3)
    assert str(kept) == "{text!} It was {mask}"
    with pytest.raises(TooLong, match="too few to show"):
        capped(template, LM_, long, 40)


def refused(task: Task, start: Prompt = START, **settings: Any) -> None:
    LMBFF(**{**FAST, **settings}).fit(LM_, task, start)


def test_what_it_refuses() -> None:
    alone: Sequence[Example] = TASK.train[:2]
    with pytest.raises(DataError, match=r"label `\w+` has no example to show but the one that is asked about"):
        refused(replace(TASK, train=tuple(alone)))
    refused(replace(TASK, train=tuple(alone)), demonstrations=False)
    with pytest.raises(NeedsError, match="templates are written by a model that fills spans, and `pocket-causal` is"):
        refused(TASK, generator="pocket-causal")
    far = Task(name="n", kind="number", fields=("text",), low=0.0, high=1.0,
               train=tuple(replace(one, target=3.0) for one in TASK.train))  # fmt: skip
    with pytest.raises(DataError, match="has the target 3, outside the interval from 0 to 1"):
        refused(far, make(START.template, {"low": "bad", "high": "good"}, view=far.view))
