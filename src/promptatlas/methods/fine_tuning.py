"""Fine-tuning: a linear head on the model's state, head and model trained together.

Devlin, Chang, Lee & Toutanova 2019, "BERT", arXiv:1810.04805; compared with frozen features by Peters, Ruder & Smith
2019, "To Tune or Not to Tune?", arXiv:1903.05987. The baseline every report shows.

Learns: all weights (part `weights`) and a classifier (part `head`).
Needs: labelled examples; any kind of model. The template's words play no part, its fields do.
Relations: `pattern_tuning` trains the same weights through a pattern and label words, and needs fewer labels.
Differs: the head reads the state itself (no extra pooler layer), in a masked model the mean over tokens, which says
more than [CLS] in a small model that never learned to use it; the model stays in evaluation mode (no dropout). Rates,
steps and batch suit small models and 16 examples a class.

Example:
    >>> import promptatlas
    >>> promptatlas.method("fine_tuning", steps=100, lr=2e-4).steps
    100
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from promptatlas.data.task import Task
from promptatlas.demos.pick import NoDemos
from promptatlas.lm.lm import LM
from promptatlas.parts.weights import full
from promptatlas.prompting import Prompt
from promptatlas.prompting.headed import headed, plain
from promptatlas.train.loop import Term, tune
from promptatlas.train.loss import nll
from promptatlas.train.needs import Needs
from promptatlas.train.optim import each
from promptatlas.train.run import Run


@dataclass(frozen=True, kw_only=True)
class FineTuning:
    """Settings of fine-tuning.

    Attributes:
        pool: the state the head reads for a label: "first" ([CLS], sec. 3.2), "last", "mean", or "" for what suits the
            kind.
        steps: of training.
        batch: examples a step.
        lr: the highest learning rate of the model's weights.
        head_lr: of the head, which starts from nothing.
        weight_decay: of the weights.
        warmup: share of the steps in which the rate rises; it then falls linearly.
        seed: of the head's start and the batches.
    """

    pool: Literal["", "first", "last", "mean"] = ""
    steps: int = 60
    batch: int = 8
    lr: float = 3e-4
    head_lr: float = 1e-2
    weight_decay: float = 0.01
    warmup: float = 0.1
    seed: int = 0

    name: ClassVar[str] = "fine_tuning"
    needs: ClassVar[Needs] = Needs(
        can=("gradient", "hidden", "weights"),
        splits=("train",),
        tasks=("label", "tags", "number"),
        slot=False,
        words=False,
        instead={"gradient": ("in_context",), "train": ("contextual_calibration",)},
    )
    published: ClassVar[Mapping[str, object]] = {
        "pool": "first",
        "lr": 2e-5,
        "head_lr": 2e-5,
        "batch": 32,
    }  # app. A.3: lr 5e-5, 3e-5 or 2e-5

    def fit(self, lm: LM, task: Task, prompt: Prompt, *, run: Run | None = None) -> Prompt:
        """Train a fresh head and the model's weights on the plain fields, separated by the tokenizer's own mark."""
        run = run or Run()
        prompt = replace(prompt, parts={}, demos=NoDemos(), calibration=(), history=())  # all is learned anew
        self.needs.check(self.name, lm, task, prompt)
        template = plain(prompt.template.fields, prompt.template.each)
        prompt = replace(prompt, template=template, parts={"weights": full(lm)})
        prompt = headed(prompt, lm, task, seed=self.seed, pool=self.pool or None)
        rates = {"weights": self.lr, "head": self.head_lr}
        optim = each(rates, weight_decay=self.weight_decay, schedule="linear", warmup=self.warmup)
        terms = [Term(task.train, nll, batch=self.batch)]
        tuned = tune(prompt, lm, terms, optim=optim, steps=self.steps, seed=self.seed, flat=None, run=run)
        return tuned.noted(lm, self, task.identity(), **run.figures)
