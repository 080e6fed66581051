"""Null prompts: a template of fields and a slot alone, without a word; all weights are trained, or the biases only.

Logan IV, Balažević, Wallace, Petroni, Singh & Riedel 2022, "Cutting Down on Prompts and Parameters: Simple Few-Shot
Learning with Language Models", arXiv:2106.13353.

Learns: all weights (part `weights`), every bias (part `biases`), or gains and biases of the normalisations (part
`norms`).
Needs: labelled examples; label words, unless they are drawn. A causal model's slot stands last.
Relations: `pattern_tuning` and `bitfit` train the same under a pattern of words. They work because something is
trained: a frozen model answers a null prompt hardly better than chance.
Differs: biases and gains don't decay (the official code: by 0.01 as all else) and there is no dropout; the last step is
kept (the paper: the best on dev examples); rates, steps and batch suit small models. All weights are trained by
default, since many models have no biases.

Example:
    >>> import promptatlas
    >>> promptatlas.method("null_prompts", train="biases", order=("hypothesis", "mask", "premise")).order
    ('hypothesis', 'mask', 'premise')
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from promptatlas.data.task import Task
from promptatlas.demos.pick import NoDemos
from promptatlas.lm.lm import LM
from promptatlas.parts.weights import biases, changed, full, norms, onto
from promptatlas.prompting import Prompt
from promptatlas.prompting.headed import bare
from promptatlas.score.candidates import drawn
from promptatlas.train.loop import Term, tune
from promptatlas.train.loss import nll
from promptatlas.train.needs import Needs
from promptatlas.train.optim import Optim
from promptatlas.train.run import Run

FRESH = {"all": full, "biases": biases, "norms": norms}
PARTS = {"all": "weights", "biases": "biases", "norms": "norms"}
RATES = {"all": 3e-4, "biases": 1e-2, "norms": 1e-2}


@dataclass(frozen=True, kw_only=True)
class NullPrompts:
    """Settings of null prompts.

    Attributes:
        order: fields and "mask", the slot, in the order they stand; none: the template's fields, then the slot. The
            paper has "sentence2", "mask", "sentence1" for MNLI, else the slot last; any other may do better.
        train: "all" weights, the "biases", or the "norms": gains and biases of the normalisations.
        words: "own", the prompt's label words, or "random": a token drawn for each label.
        steps: of training.
        batch: examples a step.
        lr: the learning rate; None: 3e-4 for all weights, 1e-2 for the few.
        seed: of the batches and of words that are drawn.
    """

    order: tuple[str, ...] = ()
    train: Literal["all", "biases", "norms"] = "all"
    words: Literal["own", "random"] = "own"
    steps: int = 100
    batch: int = 8
    lr: float | None = None
    seed: int = 0

    name: ClassVar[str] = "null_prompts"
    needs: ClassVar[Needs] = Needs(
        can=("gradient", "weights"),
        splits=("train",),
        slot=False,
        instead={"gradient": ("in_context",), "train": ("contextual_calibration",)},
    )
    published: ClassVar[Mapping[str, object]] = {  # the official code; its rates are 1e-5 to 5e-4, its epochs 30
        "train": "biases", "batch": 2, "lr": 5e-4,
    }  # fmt: skip

    def fit(self, lm: LM, task: Task, prompt: Prompt, *, run: Run | None = None) -> Prompt:
        """Train the values; those the prompt has already are where training starts. NeedsError: there are none."""
        run = run or Run()
        self.needs.check(self.name, lm, task, prompt)
        template = bare(self.order or (*prompt.template.fields, "mask"), task.fields)
        words = drawn(lm, task.labels, template, seed=self.seed) if self.words == "random" else prompt.words
        prompt = replace(prompt, template=template, words=words, demos=NoDemos(), calibration=())
        part = PARTS[self.train]
        prompt = prompt.plus(**{part: onto(FRESH[self.train](lm), prompt.parts.get(part))})
        optim = Optim(lr=RATES[self.train] if self.lr is None else self.lr, weight_decay=0.01)
        terms = [Term(task.train, nll, batch=self.batch)]
        tuned = tune(prompt, lm, terms, optim={part: optim}, steps=self.steps, seed=self.seed, flat=None, run=run)
        tuned = tuned.plus(**{part: changed(tuned.parts[part], lm)})
        return tuned.noted(lm, self, task.identity(), **run.figures)
