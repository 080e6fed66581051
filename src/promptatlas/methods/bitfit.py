"""BitFit: the biases are trained, and nothing else; any pattern will do, one without a word in it too.

Logan IV, Balažević, Wallace, Petroni, Singh & Riedel 2022, "Cutting Down on Prompts and Parameters: Simple Few-Shot
Learning with Language Models", arXiv:2106.13353; BitFit itself is Ben Zaken, Ravfogel & Goldberg's.

Learns: the bias of every projection and every normalisation, the output head's included (part `biases`); or the gains
and biases of the normalisations alone (part `norms`). Tied ones are one, and are stored once.
Needs: labelled examples, and a model with biases (T5, Llama and ModernBERT have none; `which="norms"` does for them).
Relations: `pattern_tuning` trains all weights the same way; `lora` and `ia3` do without biases.
Differs: no weight decay (the official code: 0.01, biases too) and no dropout; the last step is kept (the paper: the
best on dev examples); rate, steps and batch suit small models.

Example:
    >>> import promptatlas
    >>> promptatlas.method("bitfit", which="norms").steps
    100
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from promptatlas.data.task import Task
from promptatlas.lm.lm import LM
from promptatlas.parts.weights import biases, changed, norms, onto
from promptatlas.prompting import Prompt
from promptatlas.prompting.headed import headed
from promptatlas.train.loop import Term, tune
from promptatlas.train.loss import nll
from promptatlas.train.needs import Needs
from promptatlas.train.optim import Optim
from promptatlas.train.run import Run


@dataclass(frozen=True, kw_only=True)
class BitFit:
    """Settings of BitFit.

    Attributes:
        which: "biases", or "norms": gains and biases of the normalisations.
        places: trains the biases of these projections alone ("query", "up", …); none: all there are.
        answer: "words", the prompt's own label words as in the paper, or "head", a linear classifier of plain fields.
        steps: of training.
        batch: examples a step.
        lr: the learning rate; far higher than where all weights are trained.
        head_lr: of the head.
        seed: of the batches and the head's start.
    """

    which: Literal["biases", "norms"] = "biases"
    places: tuple[str, ...] = ()
    answer: Literal["words", "head"] = "words"
    steps: int = 100
    batch: int = 8
    lr: float = 1e-2
    head_lr: float = 1e-2
    seed: int = 0

    name: ClassVar[str] = "bitfit"
    needs: ClassVar[Needs] = Needs(
        can=("gradient", "weights"),
        splits=("train",),
        tasks=("label", "choice"),
        parts={"biases": ("values",), "norms": ("values",)},
        instead={"gradient": ("in_context",), "train": ("contextual_calibration",)},
    )
    published: ClassVar[Mapping[str, object]] = {  # the official code; its rates are 1e-5 to 5e-4, its epochs 30
        "batch": 2, "lr": 5e-4,
    }  # fmt: skip

    def fit(self, lm: LM, task: Task, prompt: Prompt, *, run: Run | None = None) -> Prompt:
        """Train the values; those the prompt has already are where training starts. NeedsError: there are none."""
        run = run or Run()
        self.needs.under(self.answer).check(self.name, lm, task, prompt)
        fresh = biases(lm, self.places) if self.which == "biases" else norms(lm)
        prompt = replace(prompt, calibration=()).plus(**{self.which: onto(fresh, prompt.parts.get(self.which))})
        optim: dict[str, Optim] = {self.which: Optim(lr=self.lr)}
        if self.answer == "head":
            prompt = headed(prompt, lm, task, seed=self.seed)
            optim["head"] = Optim(lr=self.head_lr)
        terms = [Term(task.train, nll, batch=self.batch)]
        tuned = tune(prompt, lm, terms, optim=optim, steps=self.steps, seed=self.seed, flat=None, run=run)
        tuned = tuned.plus(**{self.which: changed(tuned.parts[self.which], lm)})  # under a head, the model's isn't read
        return tuned.noted(lm, self, task.identity(), **run.figures)
