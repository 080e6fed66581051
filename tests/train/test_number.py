"""Numbers, from their loss to what is measured of them."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from promptatlas.artifact.load import load
from promptatlas.artifact.save import save
from promptatlas.bench.measure import Contender, majority, measured
from promptatlas.data.example import Example
from promptatlas.data.interval import POLES, Interval
from promptatlas.data.read import read_task
from promptatlas.data.task import Task
from promptatlas.demos.sampled import Sampled
from promptatlas.errors import DataError, NeedsError, SettingError
from promptatlas.prompting import Ensemble, Prompt
from promptatlas.prompting.make import check_fit
from promptatlas.prompting.make import prompt as make
from promptatlas.registry import method
from promptatlas.testing.tasks import toy, toy_prompt
from promptatlas.testing.tiny import tiny
from promptatlas.train.candidate import Candidate
from promptatlas.train.folds import Selection
from promptatlas.train.loss import Batch, generator, nll
from promptatlas.train.number import divergence
from promptatlas.train.select import select

NUMBERS = {"pets": 4.0, "weather": 1.0}


def numbers(train: int = 32) -> Task:
    """The toy task with a number for each label, in 0 to 5."""
    given = toy(train=train)
    told = {
        split: tuple(replace(one, target=NUMBERS[str(one.target)]) for one in getattr(given, split))
        for split in ("train", "dev", "test")
    }
    return Task(name="numbers", kind="number", fields=("text",), low=0.0, high=5.0, **told)


TASK = numbers()
PROMPT = make("{text} It was {mask}", {"low": "bad", "high": "good"}, view=TASK.view)


class Says(Prompt):
    """A prompt that always says the same of the poles."""

    logits = (1.0, 2.0)

    def score(self, lm: object, examples: object) -> torch.Tensor:  # type: ignore[override]
        return torch.tensor([self.logits] * len(list(examples))).log_softmax(-1)  # type: ignore[call-overload]


def test_the_loss_by_hand() -> None:
    """t = .6 under logits (1, 2) is .0402500; at t = q it is 0; at the ends it is the cross-entropy."""
    says = Says(template=PROMPT.template, words=PROMPT.words, view=PROMPT.view)
    q = 1 / (1 + math.exp(-1))
    examples = [Example({"text": "a"}, value) for value in (3.0, 5 * q, 5.0, 0.0)]
    found = divergence(says, tiny("bert"), examples, Interval(0.0, 5.0))
    assert found.tolist() == pytest.approx([0.0402500, 0, -math.log(q), -math.log(1 - q)], abs=1e-6)


def test_the_least_loss_is_at_the_number_itself() -> None:
    """Where the released code's is at sigmoid(2t - 1): .731 for the highest number."""
    logit = torch.zeros(1, requires_grad=True)
    t = torch.tensor([0.9])
    wanted = torch.stack([1 - t, t], 1)
    mover = torch.optim.SGD([logit], lr=1.0)
    for _ in range(400):
        mover.zero_grad()
        scores = torch.stack([torch.zeros(1), logit], 1).log_softmax(-1)
        (torch.xlogy(wanted, wanted) - wanted * scores).sum().backward()  # type: ignore[no-untyped-call]
        mover.step()
    assert float(logit.detach().sigmoid()) == pytest.approx(0.9, abs=1e-3)


def test_the_order_of_the_poles_is_no_matter() -> None:
    lm = tiny("bert")
    turned = replace(PROMPT, words=type(PROMPT.words).of({"high": "good", "low": "bad"}))  # type: ignore[attr-defined]
    batch = Batch(TASK.train[:6], tuple(range(6)), 0, generator(0))
    torch.testing.assert_close(nll(PROMPT, lm, batch), nll(turned, lm, batch))
    values = [[one.value for one in some.predict(lm, TASK.test)] for some in (PROMPT, turned)]
    assert values[0] == pytest.approx(values[1], abs=1e-5)


@pytest.mark.parametrize(
    ("name", "family"),
    [("pattern_tuning", "bert"), ("pattern_tuning", "llama"), ("pattern_tuning", "t5"), ("fine_tuning", "bert")],
)
def test_numbers_are_learned_saved_and_measured(name: str, family: str, tmp_path: Path) -> None:
    lm, task = tiny(family), numbers(64)
    maker = method(name, steps=60, batch=12, lr=3e-3)
    found = measured(Contender(name, (maker,)), lm, task, PROMPT)
    assert found.figures["pearson"] > 0.8
    assert majority(task)[0]["pearson"] == 0
    loaded = load(save(found.prompt, tmp_path / "saved"))
    answers = [one.value for one in loaded.predict(lm, task.test)]
    assert answers == [one.value for one in found.prompt.predict(lm, task.test)]
    assert all(isinstance(one, float) and 0 < one < 5 for one in answers)
    check_fit(loaded, task)  # type: ignore[arg-type]


def test_several_draws_and_several_prompts_average_numbers() -> None:
    lm = tiny("bert")
    pool = tuple(replace(one, target=PROMPT.view.pole(one)) for one in TASK.train)  # type: ignore[attr-defined]
    demos = Sampled.over(lm, pool, POLES, draws=3)
    each = [replace(PROMPT, demos=demos.again(draw)) for draw in range(3)]
    numbers = [[one.value for one in some.predict(lm, TASK.test)] for some in each]
    means = [sum(some) / 3 for some in zip(*numbers, strict=True)]  # type: ignore[arg-type]
    assert [one.value for one in replace(PROMPT, demos=demos).predict(lm, TASK.test)] == pytest.approx(means, abs=1e-5)
    together = Ensemble(prompts=tuple(each))
    assert [one.value for one in together.predict(lm, TASK.test)] == pytest.approx(means, abs=1e-5)
    with pytest.raises(SettingError, match="only prompts whose numbers lie in one interval answer together"):
        Ensemble(prompts=(each[0], replace(each[1], view=Interval(0.0, 3.0))))


def test_a_choice_by_squared_error() -> None:
    lm, task = tiny("bert"), numbers(64)
    given = [
        Candidate(name=name, prompt=PROMPT, methods=(method("pattern_tuning", steps=steps, batch=12, lr=3e-3),))
        for name, steps in (("hardly", 1), ("well", 60))
    ]
    choice = select(given, lm, task, Selection(kind="dev")).choice
    assert choice.chosen == "well"
    assert choice.scores[1].value < choice.scores[0].value


def test_what_does_not_go_together() -> None:
    with pytest.raises(DataError, match="`numbers` is of kind number, and the prompt answers with no number"):
        check_fit(toy_prompt(), TASK)
    with pytest.raises(DataError, match="`toy` is of kind label, and the prompt answers with a number"):
        check_fit(PROMPT, toy())
    with pytest.raises(SettingError, match="a number is told by words of the labels `low` and `high`"):
        check_fit(replace(PROMPT, words=toy_prompt().words), TASK)
    with pytest.raises(NeedsError, match="`prompt_tuning` needs a task of kind"):
        method("prompt_tuning").fit(tiny("bert"), TASK, PROMPT)
    far = replace(TASK, train=(*TASK.train, Example({"text": "far"}, 9.0, "far")))
    with pytest.raises(DataError, match="example `far` has the target 9, outside the interval from 0 to 5"):
        method("pattern_tuning", steps=9).fit(tiny("bert"), far, PROMPT)


def test_a_file_of_numbers(tmp_path: Path) -> None:
    rows = [{"text": one.fields["text"], "label": one.target} for one in TASK.train]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf8")
    about = {"kind": "number", "low": 0, "high": 5, "words": {"low": "bad", "high": "good"}}
    (tmp_path / "task.json").write_text(json.dumps(about), encoding="utf8")
    task = read_task(str(tmp_path))
    assert task.view == Interval(0.0, 5.0)
    assert task.words == {"low": ("bad",), "high": ("good",)}
