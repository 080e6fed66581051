"""A candidate to choose, and what it does on examples that are held back."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from hashlib import sha256
from typing import Any

import torch

from promptatlas.data.example import Example
from promptatlas.data.task import Task
from promptatlas.data.view import Answer, One
from promptatlas.demos.pick import Fixed, NoDemos
from promptatlas.errors import ArtifactError, DataError, NeedsError, PromptAtlasError, TooLong
from promptatlas.lm.lm import LM
from promptatlas.prompting import Ensemble, Prompt
from promptatlas.prompting.rows import Line
from promptatlas.train.choice import Held, joined, lost
from promptatlas.train.folds import Fold
from promptatlas.train.needs import Method, chained
from promptatlas.train.run import Cancelled, Event, Run


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """Something to choose: a prompt, and what becomes of it where there are examples to learn from.

    Attributes:
        name: for people, and in the history of what is learned.
        prompt: where it starts; what answers where there is nothing to learn from yet.
        methods: applied to it one after the other; none: it stays as it is.
        shown: all examples there are to learn from are shown as demonstrations, in the order of the fold; no methods.
    """

    name: str
    prompt: Prompt
    methods: tuple[Method, ...] = ()
    shown: bool = False

    def fit(self, lm: LM, task: Task, *, run: Run | None = None) -> Prompt | Ensemble:
        """What it learns from the task's training examples."""
        if not task.train:
            return self.prompt
        if self.shown:
            return replace(self.prompt, demos=Fixed(task.train), calibration=())
        return chained(self.name, self.methods, lm, task, self.prompt, run=run or Run())


@dataclass(frozen=True, eq=False)
class Asking:
    """Asks candidates what folds hold back; see `Evaluate`.

    Attributes:
        candidates: the candidates.
        lm: the model.
        task: what they learn from, and what they may see beside it.
        run: keeps every answer.
        examples: what folds give the places of.
        known: of candidates that learn nothing, by place: what they did there.
    """

    candidates: Sequence[Candidate]
    lm: LM
    task: Task
    run: Run
    examples: tuple[Example, ...]
    known: dict[int, dict[int, Held]] = field(default_factory=dict)

    def __call__(self, at: int, folds: Sequence[Fold]) -> list[Held]:
        """What a candidate does on these folds; after one that fails, the others fail too, and nothing is fitted."""
        one = self.candidates[at]
        if one.shown:
            return self._kept(at, folds, lambda: self._shown(one, folds))
        if not one.methods:
            return self._once(at, folds)
        found: list[Held] = []
        for done, fold in enumerate(folds):
            self.run.tell(Event(f"candidate {at + 1}", done, len(folds)))
            found += self._kept(at, [fold], partial(self._fitted, one, fold))
            if found[-1].failed:
                return found + found[-1:] * (len(folds) - len(found))
        return found

    def check(self, folds: Sequence[Fold]) -> None:
        """Whether all demonstrations that folds show fit the window. Raises TooLong, NeedsError."""
        longest = max(len(one.train) for one in folds)
        for one in self.candidates:
            if one.shown and (one.methods or not isinstance(one.prompt.view, One)):
                why = "has methods" if one.methods else "brings no labels of its own"
                raise NeedsError(f"`{one.name}` is to show all examples, and {why}", hint="leave `shown` out")
            lines = self._lines(one, [fold for fold in folds if len(fold.train) == longest]) if one.shown else []
            rows = [job.row for some in one.prompt.reader(self.lm).wanted(lines, mass=False) for job in some.jobs]
            room = min((row.demos() for row in rows), default=longest)
            if room < longest or any(row.cut() for row in rows):
                window = f"the window of {self.lm.window} tokens"
                raise TooLong(
                    f"`{one.name}` shows up to {longest} examples, and {window} doesn't hold them and the text",
                    hint="give fewer examples, or shorter ones",
                )

    def key(self, at: int, folds: Sequence[Fold]) -> str:
        """What tells a question to a candidate from any other."""
        one = self.candidates[at]
        asked = repr((self._data, self.lm.name, one.name, one.prompt.key, one.methods, one.shown, folds))
        return f"{at}-{sha256(asked.encode()).hexdigest()[:16]}"

    @cached_property
    def _data(self) -> str:
        return self.task.identity()

    def _some(self, places: Sequence[int]) -> tuple[Example, ...]:
        return tuple(self.examples[at] for at in places)

    def _lines(self, one: Candidate, folds: Sequence[Fold]) -> list[Line]:
        asked = [(at, self._some(fold.train)) for fold in folds for at in fold.held]
        return [Line(one.prompt.template, self.examples[at], train) for at, train in asked]

    def _kept(self, at: int, folds: Sequence[Fold], ask: Callable[[], list[Held]]) -> list[Held]:
        """What a candidate answers; read, where the run's folder has it. A failure isn't kept: it is tried again."""
        try:
            found: Any = self.run.stage(f"select-{self.key(at, folds)}", lambda: [asdict(held) for held in ask()])
        except (Cancelled, ArtifactError):  # no fault of the candidate's: stopped, or a folder that isn't whole
            raise
        except PromptAtlasError as error:
            return [Held(failed=error.message)] * len(folds)
        return [Held.from_json(held) for held in found]

    def _fitted(self, one: Candidate, fold: Fold) -> list[Held]:
        """Fit anew, read, and let go of what was learned."""
        few = replace(self.task, train=self._some(fold.train), test=())
        return [self._read(one.fit(self.lm, few, run=self.run), fold)]

    def _read(self, learned: Prompt | Ensemble, fold: Fold) -> Held:
        examples = self._some(fold.held)
        with self.run.counted():
            return answered(learned.predict(self.lm, examples), examples)

    def _once(self, at: int, folds: Sequence[Fold]) -> list[Held]:
        """Of a prompt that learns nothing: it answers the same in every fold, so each example is read once."""
        prompt, known = self.candidates[at].prompt, self.known.setdefault(at, {})
        new = Fold((), tuple(sorted({place for fold in folds for place in fold.held} - known.keys())))
        if new.held:
            (held,) = self._kept(at, [new], lambda: [self._read(prompt, new)])
            if held.failed:
                return [held] * len(folds)
            known |= {place: held.part(at, at + 1) for at, place in enumerate(new.held)}
        return [joined([known[place] for place in fold.held]) for fold in folds]

    def _shown(self, one: Candidate, folds: Sequence[Fold]) -> list[Held]:
        """All folds in one read: what rows of a causal model begin with alike runs once, so an order costs a pass."""
        prompt, lines = replace(one.prompt, calibration=(), demos=NoDemos()), self._lines(one, folds)
        with torch.no_grad(), self.run.counted():
            scores = prompt.reader(self.lm).fold(lines, mass=False)
        rows = zip(lines, scores, strict=True)
        answers = iter([prompt.view.fold(line.example, row[None], prompt.labels) for line, row in rows])
        return [answered([next(answers) for _ in fold.held], self._some(fold.held)) for fold in folds]


def answered(answers: Sequence[Answer], examples: Sequence[Example]) -> Held:
    """What answers are worth. Raises DataError: a target that is no answer."""
    pairs = list(zip(answers, examples, strict=True))
    losses = tuple(_loss(*pair) for pair in pairs)
    right = tuple(one.value == example.target for one, example in pairs)
    if any(not isinstance(one.target, str) for one in examples):  # a number has no place among answers
        return Held(losses, right)
    names = [sorted(one.probabilities) for one in answers]
    shares = tuple(tuple(map(one.probabilities.__getitem__, some)) for one, some in zip(answers, names, strict=True))
    places = tuple(some.index(str(example.target)) for some, example in zip(names, examples, strict=True))
    return Held(losses, right, shares=shares, places=places)


def _loss(answer: Answer, example: Example) -> float:
    """Minus the log-probability of the right answer, in nats; of a number, the square of how far it is off."""
    if isinstance(example.target, int | float) and isinstance(answer.value, int | float):
        return float(answer.value - example.target) ** 2
    known = answer.probabilities
    if example.target not in known:
        hint = "there are " + ", ".join(f"`{one}`" for one in known)
        raise DataError(f"example `{example.key}` has the target {example.target!r}, which is no answer", hint=hint)
    return lost(known[str(example.target)])
