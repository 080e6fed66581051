"""PERO: which demonstrations, and in what order, by a genetic search on the few labels there are.

Kumar & Talukdar 2021, "Reordering Examples Helps during Priming-based Few-Shot Learning", arXiv:2106.01751.

Learns: an order of `k` training examples, kept as fixed demonstrations; with `learn=True` also one vector that stands
after each, the part `separator`, trained between generations.
Needs: 2 labelled examples or more; for the vector a model whose gradient can be had.
Relations: `entropy_order` needs no labels beyond those it shows; `in_context` draws the order; `kate` shows each input
others. `contextual_calibration` comes after it.
Differs: small generations suit a laptop; few orders are all looked at; demonstrations that don't fit are refused, and
never cut; label words of several tokens are read whole; the vector that is kept of an epoch has the best accuracy, then
the lowest loss; without dev examples the loss of each example after the others decides, which the search went by too.

Example:
    >>> import promptatlas
    >>> promptatlas.method("pero", k=4, generations=5).population
    16
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import ClassVar, Literal

from promptatlas.data.task import Task
from promptatlas.demos.pick import NoDemos
from promptatlas.lm.lm import LM
from promptatlas.prompting import Prompt
from promptatlas.search.arranged import Judge, check_room
from promptatlas.search.genetic import Genetic, evolved
from promptatlas.train.folds import Selection
from promptatlas.train.needs import Needs
from promptatlas.train.run import Event, Run
from promptatlas.train.separator import separated, taught


@dataclass(frozen=True, kw_only=True)
class PERO:
    """Settings of PERO.

    Attributes:
        k: demonstrations, out of all training examples.
        population: orders of a generation.
        parents: the best so many have children.
        elites: the best so many stay as they are.
        mutation: the chance of each place to change.
        generations: the most.
        patience: generations without a better order after which the search stops; None never.
        budget: orders at most that the training examples are answered under; None: any number.
        whole: where there are no more orders than this, all are read.
        metric: the "likelihood" of the right label, or the "accuracy".
        among: the "labels", or the whole "vocabulary" (the paper's for facts).
        judged: so many of a generation's best are compared on dev examples, where there are any.
        learn: a vector after each demonstration, in place of the prompt's own text between them.
        start: of the vector: that of the "end" mark, or of a "line" break.
        lr: of the vector.
        epochs: the most that it is trained a generation; as many without a better one as half of them end it.
        batch: orders a step.
        seed: of all draws.
    """

    k: int = 4
    population: int = 16
    parents: int = 6
    elites: int = 2
    mutation: float = 0.1
    generations: int = 10
    patience: int | None = 5
    budget: int | None = None
    whole: int = 120
    metric: Literal["likelihood", "accuracy"] = "likelihood"
    among: Literal["labels", "vocabulary"] = "labels"
    judged: int = 4
    learn: bool = False
    start: Literal["end", "line"] = "end"
    lr: float = 1e-2
    epochs: int = 10
    batch: int = 3
    seed: int = 0

    name: ClassVar[str] = "pero"
    needs: ClassVar[Needs] = Needs(
        can=("logits",), splits=("train",), parts={"separator": ("vectors",)}, instead={"train": ("entropy_order",)}
    )
    published: ClassVar[Mapping[str, object]] = {
        "k": 10, "population": 100, "parents": 25, "elites": 10, "generations": 100, "patience": None, "learn": True,
        "lr": 1e-4,
    }  # fmt: skip

    def fit(self, lm: LM, task: Task, prompt: Prompt, *, run: Run | None = None) -> Prompt:
        """Show the demonstrations in the order that loses least; those the prompt had, and a calibration, go."""
        run = run or Run()
        needs = replace(self.needs, can=("logits", "gradient")) if self.learn else self.needs
        needs.check(self.name, lm, task, prompt)
        pool, prompt = task.train, replace(prompt, demos=NoDemos(), calibration=())
        how = Genetic(n=len(pool), **{one.name: getattr(self, one.name) for one in fields(Genetic)[1:]})
        prompt = separated(prompt, lm, "separator", self.start) if self.learn else prompt
        check_room(prompt, lm, pool, self.k, (*pool, *task.dev))
        keep = partial(_kept, run)
        judge = Judge(prompt, lm, pool, task.dev, self.metric, self.among, self.budget, self.judged, keep)
        for done, ranked, following in evolved(how, judge.fitness):
            judge.see(ranked)
            run.tell(Event("search", done, self.generations, {"loss": judge.best.loss}))
            if judge.idle == self.patience:
                break
            if self.learn and following:
                judge.turn(taught(
                    judge.prompt, lm, pool, following[: self.population], "separator", lr=self.lr, epochs=self.epochs,
                    batch=self.batch, patience=-(-self.epochs // 2), among=self.among, seed=self.seed + done, run=run,
                ))  # fmt: skip
        note = Selection(kind="dev").note(len(pool), len(task.dev))
        told = judge.figures() | ({"note": note} if note else {})
        return judge.best.prompt.noted(lm, self, task.identity(), **told)


def _kept(run: Run, key: str, ask: Callable[[], list[float]]) -> list[float]:
    with run.counted():
        return run.stage(key, ask)
