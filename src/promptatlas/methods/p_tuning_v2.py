"""P-tuning v2: keys and values in front of every layer's own are trained, with a linear head; the model is frozen.

Liu, Ji, Fu, Tam, Du, Yang & Tang 2022, "P-Tuning v2: Prompt Tuning Can Be Comparable to Fine-tuning Universally Across
Scales and Tasks", arXiv:2110.07602.

Learns: a deep prompt of `length` positions (part `prefix`), and a classifier (part `head`) unless the words answer.
Needs: labelled examples, and a family with a way in for prefixes (an encoder's, a decoder's, both).
Relations: `prompt_tuning` trains vectors at the input alone; `prefix_tuning` is the same part for generation.
Differs: text keeps its positions, nothing is left out of the prefix in training, the last step is kept: `paper=True`
turns all three. The head reads the state itself (the official code: through a pooler), in a masked model the mean
over tokens, which says more than [CLS] in a small one; the prefix starts small (`scale`); the template stays around the
text. Rate, steps and batch suit small models and few labels.

Example:
    >>> import promptatlas
    >>> promptatlas.method("p_tuning_v2", length=8, answer="head").answer
    'head'
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from promptatlas.data.read import read_task
from promptatlas.data.task import Task
from promptatlas.lm.lm import LM
from promptatlas.parts.prefix import Prefix
from promptatlas.parts.reparam import MLPPrefix, flat, origin, started
from promptatlas.prompting import Prompt
from promptatlas.prompting.headed import classified
from promptatlas.score.soft import POOLS
from promptatlas.train.family import shared
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
        pool: the state the head reads for a label: "first" ([CLS], the paper's), "last", "mean", or "" for the kind's.
        scale: deviation of the prefix's start, where there is no MLP.
        mid: width of an MLP the prefix is trained through, dropped afterwards (official code: 512); 0: none.
        dropout: share of keys and values left out in training.
        positions: "unshifted", or "shifted": text stands `length` further on (official code).
        family: other tasks, by name or folder: the prefix is first trained on all, each through a head of its own.
        family_steps: of that.
        steps: the most steps.
        batch: examples a step.
        lr: the learning rate; 5e-3 to 3e-2 in the official scripts.
        keep: prefix and head of the "last" step, or the "best" on dev examples.
        every: steps between two measurements on dev examples.
        flat: stops, from 400 steps on, when the training loss falls by less than this share; None never.
        seed: of the start and the batches.
    """

    length: int = 8
    answer: Literal["head", "words"] = "head"
    pool: Literal["", "first", "last", "mean"] = ""
    scale: float = 0.1
    mid: int = 0
    dropout: float = 0.0
    positions: Literal["unshifted", "shifted"] = "unshifted"
    family: tuple[str, ...] = ()
    family_steps: int = 80
    steps: int = 80
    batch: int = 8
    lr: float = 5e-3
    keep: Literal["last", "best"] = "last"
    every: int = 20
    flat: float | None = 1e-3
    seed: int = 0

    name: ClassVar[str] = "p_tuning_v2"
    needs: ClassVar[Needs] = Needs(
        can=("gradient", "prefix", "hidden"), splits=("train",), tasks=("label", "tags"), slot=False,
        parts={"prefix": ("prefix", "reparametrised")}, instead={"prefix": ("prompt_tuning",)},
    )  # fmt: skip
    published: ClassVar[Mapping[str, object]] = {  # BoolQ's run script, but for its 100 epochs: set `steps` to as many
        "pool": "first", "scale": 1.0, "batch": 32, "lr": 7e-3, "flat": None, "dropout": 0.1, "positions": "shifted",
        "keep": "best",
    }  # fmt: skip

    def fit(self, lm: LM, task: Task, prompt: Prompt, *, run: Run | None = None) -> Prompt:
        """Train prefix and head; parts the prompt has under these names already are where training starts."""
        run = run or Run()
        needs = self.needs if self.answer == "head" else replace(self.needs, tasks=("label",))
        needs.check(self.name, lm, task, prompt)
        prompt = replace(prompt, calibration=())
        pool, optim = self.pool or POOLS[lm.kind], Optim(lr=self.lr)
        if "prefix" not in prompt.parts:
            prompt = prompt.plus(prefix=self.beginning(lm, prompt))
        start = origin(prompt.parts["prefix"])
        if self.family:
            tasks = [task, *map(read_task, self.family)]
            prompt = shared(
                lm, prompt, tasks, part="prefix", pool=pool, optim=optim, steps=self.family_steps, batch=self.batch,
                seed=self.seed, run=run,
            )  # fmt: skip
        if self.answer == "head" and "head" not in prompt.parts:
            prompt = classified(prompt, lm, task, seed=self.seed, pool=pool)
        trained = ("prefix", "head") if self.answer == "head" else ("prefix",)
        tuned = tune(
            prompt, lm, [Term(task.train, nll, batch=self.batch)], optim=dict.fromkeys(trained, optim),
            steps=self.steps, seed=self.seed, flat=self.flat, dev=task.dev if self.keep == "best" else None,
            keep=self.keep, every=self.every, run=run,
        )  # fmt: skip
        return tuned.plus(prefix=flat(tuned.parts["prefix"])).noted(lm, self, task.identity(), **start, **run.figures)

    def beginning(self, lm: LM, prompt: Prompt) -> Prefix | MLPPrefix:
        """The prefix that training starts from, for a prompt without any; `show` makes it again."""
        return started(lm, self.length, mid=self.mid, seed=self.seed, scale=self.scale, positions=self.positions,
                       dropout=self.dropout)  # fmt: skip
