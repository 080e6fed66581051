"""How fast a method learns: operations a step, and its score on the way."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from promptatlas.bench.measure import score
from promptatlas.data.example import Example
from promptatlas.data.task import Task
from promptatlas.lm.lm import LM
from promptatlas.prompting import Ensemble, Prompt
from promptatlas.train.run import Event, Run

POINTS = 10  # measurements in each training
ENOUGH = 0.95  # of the final score


@dataclass(eq=False)
class Watcher:
    """Watches the runs of one contender; `begin` makes them.

    Attributes:
        lm: the language model.
        task: whose metric is taken.
        examples: to measure on; looking at them changes nothing that is learned.
    """

    lm: LM
    task: Task
    examples: Sequence[Example]
    steps: int = field(default=0, init=False)
    scores: list[tuple[int, float]] = field(default_factory=list, init=False)
    _runs: list[Run] = field(default_factory=list, init=False)

    def begin(self) -> Run:
        """A run whose operations are counted and whose prompts are measured on the way."""
        run = Run(listen=self._count, watch=self._look, budget=math.inf)
        self._runs.append(run)
        return run

    def look(self, prompt: Prompt | Ensemble) -> None:
        """Measure this prompt as what was learned by now."""
        answers = [one.value for one in prompt.predict(self.lm, self.examples)]
        self.scores.append((self.steps, score(self.task, self.examples, answers)))

    def figures(self) -> dict[str, float | int]:
        """`steps` in all, `operations` a step, and `enough`: steps to 95 % of the last score; none without training."""
        if not self.steps:
            return {}
        spent = sum(run.spent for run in self._runs)
        return {"steps": self.steps, "operations": spent / self.steps, "enough": enough(self.scores)}

    def _count(self, event: Event) -> None:
        self.steps += event.what == "tune"

    def _look(self, step: int, steps: int, prompt: Prompt) -> None:
        if step % max(1, steps // POINTS) == 0:
            self.look(prompt)


def enough(scores: Sequence[tuple[int, float]]) -> int:
    """The first step measured whose score is 95 % of the last one's.

    >>> enough([(0, 0.5), (10, 0.7), (20, 0.8), (30, 0.8)])
    20
    """
    wanted = ENOUGH * scores[-1][1]
    return next(step for step, one in scores if one >= wanted)
