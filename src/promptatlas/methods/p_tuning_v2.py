"""P-tuning v2: keys and values in front of every layer's own are trained, with a linear head; the model is frozen.

Liu, Ji, Fu, Tam, Du, Yang & Tang 2022, "P-Tuning v2: Prompt Tuning Can Be Comparable to Fine-tuning Universally Across
Scales and Tasks", arXiv:2110.07602.

Learns: a deep prompt of `length` positions (part `prefix`), and a classifier (part `head`) unless the words answer.
Needs: labelled examples, and a family with a way in for prefixes.
Relations: `prompt_tuning` trains vectors at the input alone; prefix-tuning is the same part for generation.
Differs: text keeps its positions (the official code shifts them by `length`, as `positions` can); no dropout on the
prefix; the head reads the state itself, where the official code reads it through a pooler, in a masked model the mean
over tokens, which says more than [CLS] in a small one; the prefix starts small (`scale`). The template stays around the
text, under a head too; the last step is kept (the official code: the best epoch on dev examples). Rate, steps and batch
suit small models and few labels.

Example:
    >>> import promptatlas
    >>> promptatlas.method("p_tuning_v2", length=8, answer="head").answer
    'head'
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from promptatlas.data.task import Task
from promptatlas.demos.pick import NoDemos
from promptatlas.lm.lm import LM
from promptatlas.parts.head import head
from promptatlas.parts.prefix import normal
from promptatlas.prompting import Prompt
from promptatlas.score.soft import POOLS, Classifier
from promptatlas.train.loop import Term, tune
from promptatlas.train.loss import nll
from promptatlas.train.needs import Needs
from promptatlas.train.optim import Optim
from promptatlas.train.run import Run


@dataclass(frozen=True, kw_only=True)
class PTuningV2:
    """Settings of P-tuning v2.

    Attributes:
        length: positions of the prefix; simple classification wants fewer than 20 (the paper).
        answer: "head", a linear classifier as in the paper, or "words", the prompt's own label words.
        pool: the state the head reads: "first" ([CLS], the paper's), "last", "mean", or "" for what suits the kind.
        positions: "unshifted", text keeps its own, or "shifted", it stands behind the prefix, as in the official code
            and PEFT (not in a seq2seq model).
        scale: deviation of the prefix's start.
        steps: the most steps.
        batch: examples a step.
        lr: the learning rate; 5e-3 to 3e-2 in the official scripts.
        flat: stops, from 400 steps on, when the training loss falls by less than this share; None never.
        seed: of the start and the batches.
    """

    length: int = 8
    answer: Literal["head", "words"] = "head"
    pool: Literal["", "first", "last", "mean"] = ""
    positions: Literal["unshifted", "shifted"] = "unshifted"
    scale: float = 0.1
    steps: int = 80
    batch: int = 8
    lr: float = 5e-3
    flat: float | None = 1e-3
    seed: int = 0

    name: ClassVar[str] = "p_tuning_v2"
    needs: ClassVar[Needs] = Needs(
        can=("gradient", "prefix", "hidden"), splits=("train",), slot=False, instead={"prefix": ("prompt_tuning",)}
    )
    published: ClassVar[Mapping[str, object]] = {  # BoolQ's run script, but for its 100 epochs: set `steps` to as many
        "pool": "first", "scale": 1.0, "batch": 32, "lr": 7e-3, "flat": None,
    }  # fmt: skip

    def fit(self, lm: LM, task: Task, prompt: Prompt, *, run: Run | None = None) -> Prompt:
        """Train prefix and head; parts the prompt has under these names already are where training starts."""
        run = run or Run()
        self.needs.check(self.name, lm, task, prompt)
        prompt = replace(prompt, calibration=())
        if "prefix" not in prompt.parts:
            shifted = self.positions == "shifted"
            prompt = prompt.plus(prefix=normal(lm, self.length, seed=self.seed, scale=self.scale, shifted=shifted))
        if self.answer == "head" and "head" not in prompt.parts:
            words = Classifier(labels=task.labels, pool=self.pool or POOLS[lm.kind])
            prompt = replace(prompt.plus(head=head(lm, len(task.labels), seed=self.seed)), words=words, demos=NoDemos())
        trained = ("prefix", "head") if self.answer == "head" else ("prefix",)
        optim = dict.fromkeys(trained, Optim(lr=self.lr))
        terms = [Term(task.train, nll, batch=self.batch)]
        tuned = tune(prompt, lm, terms, optim=optim, steps=self.steps, seed=self.seed, flat=self.flat, run=run)
        return tuned.noted(lm, self, task.identity(), **run.figures)
