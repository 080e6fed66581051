"""Asking candidates within a budget of operations: one that would take more than is left is not tried any further."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from promptatlas.auto.mixture import together
from promptatlas.train.candidate import Asking
from promptatlas.train.choice import Held
from promptatlas.train.folds import Fold
from promptatlas.train.run import Cancelled, Event


@dataclass(eq=False)
class Purse:
    """Asks candidates, and groups of them, what folds hold back; counts operations, and keeps to a budget.

    What a candidate will take in all is known once it has learned from a first fold: as much for each of the others. It
    is tried on them only where that is left; so what is tried hangs on operations alone, not on the machine.

    Attributes:
        asking: asks a single candidate.
        groups: what is chosen from: candidates by their places, alone or together, which costs nothing more.
        fits: how often a candidate learns in all, what is chosen included.
        budget: operations in all.
        spent: by the candidate's place, its operations so far.
        planned: by the candidate's place, its operations in all.
    """

    asking: Asking
    groups: Sequence[tuple[int, ...]]
    fits: int
    budget: float
    spent: dict[int, float] = field(default_factory=dict)
    planned: dict[int, float] = field(default_factory=dict)
    dropped: dict[int, str] = field(default_factory=dict)
    known: dict[tuple[int, Fold], Held] = field(default_factory=dict)

    def __call__(self, at: int, folds: Sequence[Fold]) -> list[Held]:
        """What a group does on these folds."""
        return [together([self._one(one, fold) for one in self.groups[at]]) for fold in folds]

    @property
    def left(self) -> float:
        """Operations that are neither spent nor promised to a candidate."""
        taken = {**self.spent, **{at: most for at, most in self.planned.items() if at not in self.dropped}}
        return self.budget - sum(taken.values())

    def _one(self, at: int, fold: Fold) -> Held:
        if at in self.dropped:
            return Held(failed=self.dropped[at])
        if (at, fold) not in self.known:
            held, operations = self._asked(at, fold)
            self.spent[at] = self.spent.get(at, 0.0) + operations
            if at not in self.planned and not held.failed:
                self._plan(at, operations)
            if at in self.dropped:
                held = Held(failed=self.dropped[at])
            self.known[at, fold] = held
        return self.known[at, fold]

    def _plan(self, at: int, operations: float) -> None:
        """Whether there is enough left for all a candidate has to learn, after its first fold."""
        wanted = operations * self.fits
        if wanted - operations > self.left:
            self.dropped[at] = (
                f"it would take about {wanted:.2g} operations, and {self.left + operations:.2g} were left"
            )
        else:
            self.planned[at] = wanted

    def _asked(self, at: int, fold: Fold) -> tuple[Held, float]:
        """What it does, and its operations; read where the run's folder has it."""
        run = self.asking.run
        run.tell(Event(self.asking.candidates[at].name))
        before = run.spent
        run.budget = float("inf") if at in self.planned else before + max(self.left, 1.0)

        def ask() -> dict[str, Any]:
            (held,) = self.asking(at, [fold])
            return {"held": asdict(held), "operations": run.spent - before}

        try:
            found: Any = run.stage(f"auto-{self.asking.key(at, [fold])}", ask)
        except Cancelled:
            if run.spent < run.budget:  # somebody else stopped it
                raise
            self.dropped[at] = f"one fold alone takes more than the {run.budget - before:.2g} operations that were left"
            return Held(failed=self.dropped[at]), run.spent - before
        finally:
            run.budget = float("inf")
        return Held.from_json(found["held"]), found["operations"]
