"""What a method needs, checked before any work."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from promptatlas.data.task import Task
from promptatlas.errors import NeedsError
from promptatlas.lm.lm import LM, Kind
from promptatlas.prompting import Ensemble, Prompt
from promptatlas.train.run import Run


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a method needs.

    Attributes:
        kinds: of model it works with.
        can: what the model must offer (see `LM.can`).
        splits: parts of the task that must not be empty.
        tasks: kinds of task it works with.
        slot: whether the template must have a slot.
        instead: methods that do without.
    """

    kinds: tuple[Kind, ...] = ("masked", "causal", "seq2seq")
    can: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ("label",)
    slot: bool = True
    instead: tuple[str, ...] = ()

    def check(self, method: str, lm: LM, task: Task, prompt: Prompt) -> None:
        """Raise NeedsError for the first thing that is missing."""
        hint = "these do without: " + ", ".join(f"`{one}`" for one in self.instead) if self.instead else None
        for fault in self._faults(lm, task, prompt):
            raise NeedsError(f"`{method}` {fault}", hint=hint)

    def _faults(self, lm: LM, task: Task, prompt: Prompt) -> Sequence[str]:
        faults = []
        if lm.kind not in self.kinds:
            faults.append(f"needs a {_either(self.kinds)} model, and `{lm.name}` is {lm.kind}")
        faults += [f"needs a model that can do `{can}`, and `{lm.name}` can't" for can in self.can if can not in lm.can]
        if task.kind not in self.tasks:
            faults.append(f"needs a task of kind {_either(self.tasks)}, and `{task.name}` is of kind {task.kind}")
        splits = {"train": task.train, "dev": task.dev, "test": task.test, "unlabeled": task.unlabeled}
        faults += [f"needs {split} examples, and `{task.name}` has none" for split in self.splits if not splits[split]]
        if self.slot and not (prompt.template.slots or prompt.template.has_each):
            faults.append(f"needs a template with a slot, and `{prompt.template}` has none")
        return faults


def _either(names: Sequence[str]) -> str:
    return " or ".join(names)


@runtime_checkable
class Method(Protocol):
    """A paper: a frozen dataclass of its settings."""

    name: str
    needs: Needs

    def fit(self, lm: LM, task: Task, prompt: Prompt, *, run: Run | None = None) -> Prompt | Ensemble:
        """A better prompt; `prompt` and `lm` are left as they were. Same seed, same result.

        Raises:
            NeedsError: before any work: what is missing, and which methods would do without.
        """
