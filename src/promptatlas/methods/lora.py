"""LoRA: to chosen projections a difference of low rank is added; the difference alone is trained.

Hu, Shen, Wallis, Allen-Zhu, Li, Wang, Wang & Chen 2021, "LoRA: Low-Rank Adaptation of Large Language Models",
arXiv:2106.09685.

Learns: W + (alpha / rank) · B A for every projection of `places` (part `lora`): A is random, B zero at first.
Needs: labelled examples; any kind of model whose weights can be had.
Relations: `ia3` trains far fewer numbers, `adapters` about as many, behind the sub-layers; `pattern_tuning` trains all
weights.
Differs: no dropout in front of A; label words answer by default (the paper's classifiers have heads); rate, steps and
batch suit small models.

Example:
    >>> import promptatlas
    >>> promptatlas.method("lora", rank=4, places=("query", "key", "value")).alpha
    8.0
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from promptatlas.data.task import Task
from promptatlas.lm.lm import LM
from promptatlas.parts.weights import lora
from promptatlas.prompting import Prompt
from promptatlas.prompting.headed import headed
from promptatlas.train.loop import Term, tune
from promptatlas.train.loss import nll
from promptatlas.train.needs import Needs
from promptatlas.train.optim import each
from promptatlas.train.run import Run


@dataclass(frozen=True, kw_only=True)
class LoRA:
    """Settings of LoRA.

    Attributes:
        rank: of the differences (sec. 4.1).
        alpha: the differences are scaled by alpha / rank (sec. 4.1).
        places: projections that get one, "query" and "value" (sec. 7.1); also "key", "attention.out", "up", "down".
        answer: "words", the prompt's own label words, or "head", a linear classifier of plain fields.
        steps: of training.
        batch: examples a step.
        lr: the highest learning rate.
        head_lr: of the head.
        weight_decay: of both factors.
        warmup: share of the steps in which the rate rises; it then falls linearly.
        seed: of A, the batches and the head's start.
    """

    rank: int = 8
    alpha: float = 8.0
    places: tuple[str, ...] = ("query", "value")
    answer: Literal["words", "head"] = "words"
    steps: int = 100
    batch: int = 8
    lr: float = 3e-3
    head_lr: float = 1e-2
    weight_decay: float = 0.0
    warmup: float = 0.06
    seed: int = 0

    name: ClassVar[str] = "lora"
    needs: ClassVar[Needs] = Needs(
        can=("gradient", "weights"),
        splits=("train",),
        tasks=("label", "choice"),
        parts={"lora": ("lora",)},
        instead={"gradient": ("in_context",), "train": ("contextual_calibration",)},
    )
    published: ClassVar[Mapping[str, object]] = {  # app. D: RoBERTa base on SST-2, but for its 60 epochs
        "lr": 5e-4, "batch": 16,
    }  # fmt: skip

    def fit(self, lm: LM, task: Task, prompt: Prompt, *, run: Run | None = None) -> Prompt:
        """Train the differences; those the prompt has already are where training starts."""
        run = run or Run()
        self.needs.under(self.answer).check(self.name, lm, task, prompt)
        prompt = replace(prompt, calibration=())
        if "lora" not in prompt.parts:
            part = lora(lm, rank=self.rank, scale=self.alpha / max(1, self.rank), places=self.places, seed=self.seed)
            prompt = prompt.plus(lora=part)
        rates = {"lora": self.lr}
        if self.answer == "head":
            prompt, rates["head"] = headed(prompt, lm, task, seed=self.seed), self.head_lr
        optim = each(rates, weight_decay=self.weight_decay, schedule="linear", warmup=self.warmup)
        terms = [Term(task.train, nll, batch=self.batch)]
        tuned = tune(prompt, lm, terms, optim=optim, steps=self.steps, seed=self.seed, flat=None, run=run)
        return tuned.noted(lm, self, task.identity(), **run.figures)
