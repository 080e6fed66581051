from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch

from promptatlas.data.task import Task
from promptatlas.lm.lm import LM
from promptatlas.parts.vectors import Vectors, vocabulary
from promptatlas.prompting import Prompt
from promptatlas.testing import check_method, tiny, toy, toy_prompt
from promptatlas.train.needs import Needs


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A method that keeps the contract, and breaks it where it is told to."""

    breaks: str = ""

    name: ClassVar[str] = "draft"
    needs: ClassVar[Needs] = Needs(can=("gradient",), splits=("train",))
    calls: ClassVar[list[int]] = []

    def fit(self, lm: LM, task: Task, prompt: Prompt, *, run: Any = None) -> Prompt:
        if self.breaks != "refusals":
            self.needs.check(self.name, lm, task, prompt)
        self.calls.append(0)
        seed = len(self.calls) if self.breaks == "seed" else 0
        if self.breaks == "model":
            next(iter(lm.parameters.values())).data.add_(1e-6)
        if self.breaks == "prompt":
            with torch.no_grad():
                next(prompt.trainable()["given"].parameters()).add_(1)
        made = prompt.lead(soft=Wobbling(vocabulary(lm, 2, seed=seed).weight, self.breaks))
        return made if self.breaks == "history" else made.noted(lm, self, task.identity())


class Wobbling(Vectors):
    """Vectors that depend on the batch, if they are to."""

    def __init__(self, weight: Any, breaks: str = "") -> None:
        super().__init__(weight)
        self.breaks = breaks

    def vectors(self, lm: LM, rows: Any) -> Any:
        return super().vectors(lm, rows) * (len(rows) if self.breaks == "batch" else 1)

    def tensors(self) -> Any:
        return {"weight": self.weight.detach() * (2 if self.breaks == "saved" else 1)}


@contextmanager
def restored(lm: LM) -> Iterator[None]:
    before = {name: one.clone() for name, one in lm.parameters.items()}
    yield
    for name, one in before.items():
        lm.parameters[name].data.copy_(one)


def draft_prompt(lm: LM) -> Prompt:
    return toy_prompt().lead(given=vocabulary(lm, 1, seed=5))


def test_a_draft_that_keeps_the_contract_passes() -> None:
    check_method(Draft(), tiny("bert"), prompt=draft_prompt(tiny("bert")))


@pytest.mark.parametrize(
    ("breaks", "sentence"),
    [
        ("refusals", "doesn't refuse a task without train examples with a NeedsError"),
        ("seed", "gives another prompt for the same seed"),
        ("model", "changes the model|gives another prompt"),
        ("prompt", "changes the prompt it is given|gives another prompt"),
        ("history", "doesn't note itself in the history"),
        ("batch", "the batch shows in scores"),
        ("saved", "isn't the same after saving and loading|scores differently"),
    ],
)
def test_a_draft_that_breaks_the_contract_is_told(breaks: str, sentence: str) -> None:
    lm = tiny("bert")
    with restored(lm), pytest.raises(AssertionError, match=sentence):
        check_method(Draft(breaks=breaks), lm, prompt=draft_prompt(lm))


def test_an_unfit_kind_has_to_be_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Draft, "needs", Needs(kinds=("causal",)))
    with pytest.raises(AssertionError, match="doesn't refuse a masked model"):
        check_method(Draft(breaks="refusals"), tiny("bert"))


def test_the_toy_task_is_balanced_and_new_in_every_split() -> None:
    task = toy(seed=3)
    assert toy(seed=3).identity() == task.identity() != toy(seed=4).identity()
    for split in (task.train, task.dev, task.test):
        assert sum(one.target == "pets" for one in split) * 2 == len(split)
    assert all(one.target is None for one in task.unlabeled)
    keys = [one.key for one in (*task.train, *task.dev, *task.test, *task.unlabeled)]
    assert len(set(keys)) == len(keys) == 80
