"""Prompts that show some out of a pool of examples in some order, judged by what they lose on labelled examples.

Kumar & Talukdar 2021, arXiv:2106.01751, sec. 3.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from statistics import fmean, pstdev
from typing import NamedTuple

from promptatlas.data.example import Example
from promptatlas.demos.pick import Fixed
from promptatlas.errors import SettingError, TooLong
from promptatlas.lm.lm import LM
from promptatlas.prompting import Prompt
from promptatlas.search.genetic import Genome, Known
from promptatlas.search.measure import compared


def arranged(prompt: Prompt, pool: Sequence[Example], order: Genome) -> Prompt:
    """The prompt showing these of the pool, in this order; to none of them itself."""
    return replace(prompt, demos=Fixed(tuple(pool[at] for at in order)))


def losses(
    prompt: Prompt, lm: LM, pool: Sequence[Example], orders: Sequence[Genome], asked: Sequence[Example], *, metric: str,
    among: str,
) -> list[float]:  # fmt: skip
    """What the prompt loses on these examples under each order, all read in one call.

    An example of the pool is asked about with the others in front of it alone (leave-one-out): where it is shown there
    is one demonstration fewer, and its label can't be copied.

    Args:
        prompt: whose template, words and parts they are shown with.
        lm: the model.
        pool: numbered by the orders.
        orders: of demonstrations.
        asked: labelled.
        metric: "likelihood": the mean of minus the right label's log-probability, in nats; "accuracy": percent answered
            wrong.
        among: "labels", or all the "vocabulary".
    """
    found = compared([arranged(prompt, pool, one) for one in orders], lm, asked, among)
    return [-one.likelihood if metric == "likelihood" else 100 - 100 * one.by(metric) for one in found]


class Best(NamedTuple):
    """An order.

    Attributes:
        loss: on dev examples, in nats; where there are none, its fitness.
        fitness: what it loses on the pool.
        order: it.
        prompt: that shows it.
    """

    loss: float
    fitness: float
    order: Genome
    prompt: Prompt


@dataclass(eq=False)
class Judge:
    """Judges orders by the pool they are of, the best of these by dev examples, and keeps the best of all.

    Attributes:
        prompt: whose orders they are; `turn` changes it.
        lm: the model.
        pool: labelled, numbered by the orders.
        dev: labelled; none: the pool has the last word.
        metric: how the pool judges; see `losses`.
        among: see `losses`.
        most: orders that are judged by the pool; None: any number.
        few: so many of the best are judged by dev examples.
        keep: given a name and what is to be asked, what came back, asked now or before.
        fitness: by the pool.
        last: by dev examples.
        seen: the best of each generation.
        drawn: fitness of the first.
    """

    prompt: Prompt
    lm: LM
    pool: Sequence[Example]
    dev: Sequence[Example]
    metric: str
    among: str
    most: int | None
    few: int
    keep: Callable[[str, Callable[[], list[float]]], list[float]]
    fitness: Known = field(init=False)
    last: Known = field(init=False)
    seen: list[Best] = field(default_factory=list, init=False)
    drawn: list[float] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        """Nothing is known yet. Raises SettingError for a budget, or a number of the best, below 1."""
        if self.few < 1:
            raise SettingError(f"the best {self.few} of a generation", hint="judge 1 or more by dev examples")
        self.fitness = Known(partial(self._asked, self.pool, self.metric), self.most)
        self.last = Known(partial(self._asked, self.dev, "likelihood"))

    @property
    def best(self) -> Best:
        """Of all seen, the first of equals."""
        return min(self.seen, key=lambda one: one.loss)

    @property
    def idle(self) -> int:
        """How many were seen since the best."""
        return len(self.seen) - 1 - self.seen.index(self.best)

    def see(self, ranked: Sequence[tuple[float, Genome]]) -> None:
        """A generation, with its fitness, the best first."""
        self.drawn = self.drawn or [value for value, _ in ranked]
        few = [order for _, order in ranked[: self.few]]
        loss, order = self.last.ranked(few)[0] if self.dev else ranked[0]
        fitness = next(value for value, one in ranked if one == order)
        self.seen.append(Best(loss, fitness, order, arranged(self.prompt, self.pool, order)))

    def turn(self, prompt: Prompt) -> None:
        """Judge this prompt's orders from now on: what is known was of another."""
        self.prompt = prompt
        self.fitness.forget()
        self.last.forget()

    def figures(self) -> dict[str, float | int | str]:
        """What a history keeps: the best, beside the mean and spread of the first generation, which was drawn."""
        best, told = self.best, {"dev_loss": self.best.loss} if self.dev else {}
        return {
            "order": " ".join(str(at + 1) for at in best.order), "generations": len(self.seen),
            "fitness": best.fitness, **told, "mean": fmean(self.drawn), "spread": pstdev(self.drawn),
            "evaluations": self.fitness.asked + self.last.asked,
            "rows": self.fitness.asked * len(self.pool) + self.last.asked * len(self.dev),
        }  # fmt: skip

    def _asked(self, asked: Sequence[Example], metric: str, orders: Sequence[Genome]) -> list[float]:
        ask = partial(losses, self.prompt, self.lm, self.pool, orders, asked, metric=metric, among=self.among)
        return self.keep(f"read-{self.fitness.asked}-{self.last.asked}", ask)


def check_room(prompt: Prompt, lm: LM, pool: Sequence[Example], k: int, asked: Sequence[Example]) -> None:
    """Refuse demonstrations of which the longest wouldn't all fit the window before the longest text.

    Raises:
        TooLong: then an order would also decide what is left out.
    """
    reader = prompt.reader(lm)
    lengths = [len(row) for row in reader.encode(replace(prompt, demos=Fixed(())).lines(lm, pool)[0])]
    longest = sorted(range(len(pool)), key=lambda at: -lengths[at])[:k]
    shown = [replace(pool[at], key=f"shown {at}") for at in longest]  # another key: to itself it would not be shown
    lines = replace(prompt, demos=Fixed(tuple(shown))).lines(lm, asked)[0]
    if any(row.cut() or row.demos() < len(line.demos) for row, line in zip(reader.encode(lines), lines, strict=True)):
        raise TooLong(
            f"the window of {lm.window} tokens doesn't hold the longest {k} of {len(pool)} demonstrations and a text",
            hint="show fewer (k), or cut them in the template, as `{text|words(20)}` does",
        )
