"""Training and answering with one demonstration a label in the context.

Gao, Fisch & Chen 2021, arXiv:2012.15723, sec. 6.
"""

from dataclasses import dataclass, replace
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from promptatlas.data.interval import POLES, Interval
from promptatlas.data.task import Task
from promptatlas.demos.room import capped
from promptatlas.demos.sampled import Sampled
from promptatlas.lm.lm import LM
from promptatlas.parts.weights import full
from promptatlas.prompting import Prompt
from promptatlas.train.loop import Term, tune
from promptatlas.train.loss import Batch, Loss, nll
from promptatlas.train.optim import Optim
from promptatlas.train.plan import named
from promptatlas.train.run import Run


def demonstrated(prompt: Prompt, lm: LM, task: Task, *, share: float, draws: int, seed: int) -> Prompt:
    """The prompt with a demonstration of every label before the input, drawn from the training examples.

    Where they wouldn't fit the window beside the longest input, the template cuts its fields: a demonstration that is
    left out would leave out its label. Of a number the demonstration is answered with the word of the end it is nearer
    to.

    Args:
        prompt: its own demonstrations are dropped.
        lm: the model, by whose states likeness is told.
        task: its training examples are shown.
        share: of a label's examples, those most like the input, that are drawn from.
        draws: are averaged over when the prompt answers.
        seed: of the draws.

    Raises:
        SettingError: a label without examples, or a share or number of draws that can't be.
        TooLong: no room for a demonstration of each label.
    """
    pool, labels, view = task.train, prompt.labels, prompt.view
    if isinstance(view, Interval):
        pool, labels = tuple(replace(one, target=view.pole(one)) for one in pool), POLES
    template = capped(prompt.template, lm, pool, len(labels) + 1)
    fields = [field for field in template.fields if field in task.fields]
    demos = Sampled.over(lm, pool, labels, share=share, draws=draws, seed=seed, fields=fields)
    return replace(prompt, template=template, demos=demos, calibration=())


@dataclass(frozen=True)
class Redrawn:
    """A loss under demonstrations that are drawn anew at every step, none of them those the prompt answers with.

    Attributes:
        loss: of prompts whose demonstrations aren't drawn it is all.
    """

    loss: Loss

    def __call__(self, prompt: Prompt, lm: LM, batch: Batch) -> Float[Tensor, " examples"]:
        """A number an example."""
        demos = prompt.demos
        if isinstance(demos, Sampled):
            prompt = replace(prompt, demos=demos.again(demos.first + demos.draws + batch.step))
        return self.loss(prompt, lm, batch)

    def key(self) -> str:
        """The same for equal losses."""
        return f"redrawn {named(self.loss)}"


def taught(
    prompt: Prompt, lm: LM, task: Task, *, lr: float, steps: int, batch: int, keep: Literal["last", "best"], seed: int,
    run: Run,
) -> Prompt:  # fmt: skip
    """The prompt with all weights trained, from those it has or else the model's, under demonstrations drawn anew.

    Args:
        prompt: with the demonstrations it is to show.
        lm: the model.
        task: its training examples are learned from, where the best is kept, its dev examples are looked at ten times.
        lr: falls linearly to zero.
        steps: of training.
        batch: examples a step.
        keep: the "last" weights, or the "best" on dev examples; the last where there are none.
        seed: of the batches.
        run: keeps what is done.
    """
    start = prompt if "weights" in prompt.parts else prompt.plus(weights=full(lm))
    optim = {"weights": Optim(lr=lr, weight_decay=0.01, schedule="linear")}
    terms = [Term(task.train, Redrawn(nll), batch=batch)]
    dev = task.dev if keep == "best" else ()
    return tune(
        start, lm, terms, optim=optim, steps=steps, seed=seed, dev=dev, keep=keep if dev else "last",
        every=max(1, steps // 10), flat=None, run=run,
    )  # fmt: skip
