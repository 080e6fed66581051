"""(IA)³: keys, values and what is inside the feed-forward blocks are scaled by trained factors.

Liu, Tam, Muqeeth, Mohta, Huang, Bansal & Raffel 2022, "Few-Shot Parameter-Efficient Fine-Tuning is Better and Cheaper
than In-Context Learning", arXiv:2205.05638.

Learns: three vectors a layer, ones at first: of the keys, of the values, and of what enters the down projection, behind
the nonlinearity (sec. 3.3); in a decoder with cross-attention, its keys and values too (part `ia3`).
Needs: labelled examples; any kind of model whose weights can be had.
Relations: `lora` trains more numbers at the same places; `bitfit` adds where this multiplies.
Differs: the labels' cross-entropy alone (the paper adds unlikelihood and length-normalised losses); AdamW;
rate, steps and batch suit small models.

Example:
    >>> import promptatlas
    >>> promptatlas.method("ia3", steps=60).places
    ('key', 'value', 'down')
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from promptatlas.data.task import Task
from promptatlas.lm.lm import LM
from promptatlas.parts.scale import scale
from promptatlas.prompting import Prompt
from promptatlas.prompting.headed import headed
from promptatlas.train.loop import Term, tune
from promptatlas.train.loss import nll
from promptatlas.train.needs import Needs
from promptatlas.train.optim import each
from promptatlas.train.run import Run


@dataclass(frozen=True, kw_only=True)
class IA3:
    """Settings of (IA)³.

    Attributes:
        places: projections whose outputs are scaled ("query", "key", "value", "up", "attention.out"), and "down", whose
            inputs are (sec. 3.3).
        answer: "words", the prompt's own label words, or "head", a linear classifier of plain fields.
        steps: of training.
        batch: examples a step.
        lr: the highest learning rate.
        head_lr: of the head.
        optim: "adamw", or "adafactor" as the paper has it.
        warmup: share of the steps in which the rate rises; it then falls linearly.
        seed: of the batches and the head's start.
    """

    places: tuple[str, ...] = ("key", "value", "down")
    answer: Literal["words", "head"] = "words"
    steps: int = 100
    batch: int = 8
    lr: float = 3e-2
    head_lr: float = 1e-2
    optim: Literal["adamw", "adafactor"] = "adamw"
    warmup: float = 0.06
    seed: int = 0

    name: ClassVar[str] = "ia3"
    needs: ClassVar[Needs] = Needs(
        can=("gradient", "weights"),
        splits=("train",),
        tasks=("label", "choice"),
        parts={"ia3": ("scale",)},
        instead={"gradient": ("in_context",), "train": ("contextual_calibration",)},
    )
    published: ClassVar[Mapping[str, object]] = {  # T-Few's recipe, sec. 3: 60 of 1,000 steps warm up
        "steps": 1000, "optim": "adafactor", "lr": 3e-3,
    }  # fmt: skip

    def fit(self, lm: LM, task: Task, prompt: Prompt, *, run: Run | None = None) -> Prompt:
        """Train the factors; those the prompt has already are where training starts."""
        run = run or Run()
        self.needs.under(self.answer).check(self.name, lm, task, prompt)
        prompt = replace(prompt, calibration=())
        if "ia3" not in prompt.parts:
            outputs = [place for place in self.places if place != "down"]
            prompt = prompt.plus(ia3=scale(lm, outputs=outputs, inputs=["down"] if "down" in self.places else []))
        rates = {"ia3": self.lr}
        if self.answer == "head":
            prompt, rates["head"] = headed(prompt, lm, task, seed=self.seed), self.head_lr
        optim = each(rates, kind=self.optim, schedule="linear", warmup=self.warmup)
        terms = [Term(task.train, nll, batch=self.batch)]
        tuned = tune(prompt, lm, terms, optim=optim, steps=self.steps, seed=self.seed, flat=None, run=run)
        return tuned.noted(lm, self, task.identity(), **run.figures)
