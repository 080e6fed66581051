"""What a method needs, checked before any work."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol, runtime_checkable

from promptatlas.data.task import Task
from promptatlas.errors import NeedsError, SettingError
from promptatlas.lm.lm import LM, Kind
from promptatlas.prompting import Ensemble, Prompt
from promptatlas.prompting.writing import WRITERS
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
        words: whether a prompt for labels must have something that stands for them: words, or what was learned.
        parts: of what kinds a part of the prompt must be to be trained on, by the names the method gives its own.
        instead: methods that do without, by what is in the way: a kind, what a model can't, a split, "slot".
    """

    kinds: tuple[Kind, ...] = ("masked", "causal", "seq2seq")
    can: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ("label",)
    slot: bool = True
    words: bool = True
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    instead: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def under(self, answer: str) -> "Needs":
        """What is needed where a "head" answers and not "words": labels or tags and states to read, but no slot."""
        if answer != "head":
            return self
        return replace(self, can=(*self.can, "hidden"), tasks=("label", "tags"), slot=False, words=False)

    def check(self, method: str, lm: LM, task: Task, prompt: Prompt) -> None:
        """Raise NeedsError for the first thing that is missing; ArtifactError for a prompt learned on another model."""
        for what, fault in self._faults(lm, task, prompt):
            names = ", ".join(f"`{one}`" for one in self.instead.get(what, ()))
            raise NeedsError(f"`{method}` {fault}", hint=f"these do without: {names}" if names else HINTS.get(what))
        prompt.check(lm)

    def _faults(self, lm: LM, task: Task, prompt: Prompt) -> Sequence[tuple[str, str]]:
        """What is missing, and a sentence of it."""
        faults: list[tuple[str, str]] = []
        if lm.kind not in self.kinds:
            faults.append((lm.kind, f"needs a {_either(self.kinds)} model, and `{lm.name}` is {lm.kind}"))
        lacking = [can for can in self.can if can not in lm.can]
        faults += [(can, f"needs a model that can do `{can}`, and `{lm.name}` can't") for can in lacking]
        if task.kind not in self.tasks:
            kinds = _either(self.tasks)
            faults.append((task.kind, f"needs a task of kind {kinds}, and `{task.name}` is of kind {task.kind}"))
        if task.kind == "text" and "generate" not in lm.can:
            faults.append(("generate", f"needs a model that writes for texts, and `{lm.name}` is {lm.kind}"))
        elif task.kind == "tags":
            faults += _untagged(lm, prompt)
        splits = {"train": task.train, "dev": task.dev, "test": task.test, "unlabeled": task.unlabeled}
        empty = [split for split in self.splits if not splits[split]]
        faults += [(split, f"needs {split} examples, and `{task.name}` has none") for split in empty]
        for name, known in self.parts.items():
            if name in prompt.parts and prompt.parts[name].kind not in known:
                theirs = prompt.parts[name].kind
                faults.append(("parts", f"trains a part `{name}`, and this prompt has one of another kind, `{theirs}`"))
        if self.slot and not (prompt.template.slots or prompt.template.has_each):
            faults.append(("slot", f"needs a template with a slot, and `{prompt.template}` has none"))
        if self.words and task.kind == "label" and prompt.writes:
            faults.append(("words", f"needs label words, and the prompt for `{task.name}` has none"))
        return faults


HINTS = {
    "words": "give each label its words, or let `petal` find some",
    "generate": WRITERS,
    "parts": "give that part another name, or start from a prompt without it",
}


def _untagged(lm: LM, prompt: Prompt) -> Sequence[tuple[str, str]]:
    """What is missing to read tags."""
    faults: list[tuple[str, str]] = []
    if lm.kind == "seq2seq":
        faults.append((lm.kind, f"reads tags in a masked or causal model, and `{lm.name}` is {lm.kind}"))
    if not prompt.template.has_each:
        faults.append(("each", f"reads tags at `{{tokens:each}}`, and the template is `{prompt.template}`"))
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

        A part the prompt has under the method's name is where it starts, but for `fine_tuning`, which starts afresh.

        Raises:
            NeedsError: before any work: what is missing, and which methods would do without.
        """


def chained(name: str, methods: Sequence[Method], lm: LM, task: Task, prompt: Prompt, *, run: Run) -> Prompt | Ensemble:
    """What methods make of a prompt, one after the other; of none, the prompt itself. With several, each is a stage.

    Raises:
        SettingError: a method after one that makes an ensemble.
    """
    learned: Prompt | Ensemble = prompt
    for at, method in enumerate(methods):
        if isinstance(learned, Ensemble):
            raise SettingError(f"`{name}` goes on from an ensemble", hint="methods start from one prompt")
        fit = partial(method.fit, lm, task, learned, run=run)
        learned = run.stage(f"method-{at}", fit) if len(methods) > 1 else fit()
    return learned
