"""Pattern tuning: the whole model is trained through one pattern and its label words.

Schick & Schütze 2021, "Exploiting Cloze Questions for Few-Shot Text Classification and Natural Language Inference",
arXiv:2001.07676: the fine-tuning of a single pattern (sec. 3.1), without ensemble, distillation and the auxiliary loss.

Learns: all weights (part `weights`).
Needs: labelled examples and a template with a slot; any kind of model whose weights can be had.
Relations: `fine_tuning` trains the same weights under a new head; `prompt_tuning` leaves the model frozen.
Differs: rate and steps suit small models; the model stays in evaluation mode (no dropout).

Example:
    >>> import promptatlas
    >>> promptatlas.method("pattern_tuning", steps=60).batch
    8
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from promptatlas.data.task import Task
from promptatlas.lm.lm import LM
from promptatlas.parts.weights import full
from promptatlas.prompting import Prompt
from promptatlas.train.loop import Term, tune
from promptatlas.train.loss import nll
from promptatlas.train.needs import Needs
from promptatlas.train.optim import Optim
from promptatlas.train.run import Run


@dataclass(frozen=True, kw_only=True)
class PatternTuning:
    """Settings of pattern tuning.

    Attributes:
        steps: of training.
        batch: examples a step.
        lr: the learning rate, which falls linearly to zero.
        weight_decay: of the weights, biases and gains excepted.
        warmup: share of the steps in which the rate rises.
        seed: of the batches.
    """

    steps: int = 60
    batch: int = 8
    lr: float = 3e-4
    weight_decay: float = 0.01
    warmup: float = 0.0
    seed: int = 0

    name: ClassVar[str] = "pattern_tuning"
    needs: ClassVar[Needs] = Needs(
        can=("gradient", "weights"),
        splits=("train",),
        tasks=("label", "choice", "number"),
        parts={"weights": ("values",)},
        instead={"gradient": ("in_context",), "train": ("contextual_calibration",)},
    )
    published: ClassVar[Mapping[str, object]] = {  # the released code: 4 labelled texts a step, 250 or 1,000 steps
        "steps": 1000, "batch": 4, "lr": 1e-5,
    }  # fmt: skip

    def fit(self, lm: LM, task: Task, prompt: Prompt, *, run: Run | None = None) -> Prompt:
        """Train the weights; where the prompt has the part `weights` already, that is where training starts."""
        run = run or Run()
        self.needs.check(self.name, lm, task, prompt)
        if "weights" not in prompt.parts:
            prompt = prompt.plus(weights=full(lm))
        prompt = replace(prompt, calibration=())
        optim = Optim(lr=self.lr, weight_decay=self.weight_decay, schedule="linear", warmup=self.warmup)
        terms = [Term(task.train, nll, batch=self.batch)]
        tuned = tune(prompt, lm, terms, optim={"weights": optim}, steps=self.steps, seed=self.seed, flat=None, run=run)
        return tuned.noted(lm, self, task.identity(), **run.figures)
