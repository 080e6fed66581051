"""Child-Tuning: all weights are read, and at each step a part of them is moved.

Xu, Luo, Zhang, Tan, Chang, Huang & Huang 2021, "Raise a Child in Large Language Model: Towards Effective and
Generalizable Fine-tuning", arXiv:2109.05687.

Learns: all weights (part `weights`). Under "F" each step's gradient is kept at random entries, under "D" at the entries
of the layers that have most Fisher information, chosen once; embeddings and heads are then trained whole.
Needs: labelled examples; any kind of model whose weights can be had.
Relations: `pattern_tuning` (or `fine_tuning`, under a head) is the same with the share 1; `diff_pruning` keeps few
differences in the end, where this keeps all.
Differs: label words answer by default; the model stays in evaluation mode, also while the information is measured (no
dropout); rate, steps and batch suit small models. As in the official code, gradients are clipped before they are
masked, the information is of batches and not of single examples, and weight decay moves what the mask doesn't.

Example:
    >>> import promptatlas
    >>> promptatlas.method("child_tuning", mode="F", share=0.2).decay_masked
    True
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from promptatlas.data.task import Task
from promptatlas.lm.lm import LM
from promptatlas.parts.child import Child, children, grown
from promptatlas.parts.weights import full, onto
from promptatlas.prompting import Prompt
from promptatlas.prompting.headed import headed
from promptatlas.train.fisher import fisher
from promptatlas.train.loop import Term, tune
from promptatlas.train.loss import nll
from promptatlas.train.needs import Needs
from promptatlas.train.optim import each
from promptatlas.train.run import Run


@dataclass(frozen=True, kw_only=True)
class ChildTuning:
    """Settings of Child-Tuning.

    Attributes:
        mode: "D", a child chosen by the task, or "F", another at random each step.
        share: of the entries that move: 0.3 in the official script, for "D".
        decay_masked: whether weight decay shrinks masked entries too.
        answer: "words", the prompt's own label words, or "head", a linear classifier of plain fields as in the paper.
        steps: of training.
        batch: examples a step, and in "D" of each gradient that is squared.
        lr: the highest learning rate, which falls linearly to zero.
        head_lr: of the head.
        weight_decay: of the weights, biases and gains excepted.
        warmup: share of the steps in which the rate rises; none in the official script, whatever it says.
        seed: of the masks, the batches and the head's start.
    """

    mode: Literal["D", "F"] = "D"
    share: float = 0.3
    decay_masked: bool = True
    answer: Literal["words", "head"] = "words"
    steps: int = 60
    batch: int = 8
    lr: float = 3e-4
    head_lr: float = 1e-2
    weight_decay: float = 0.01
    warmup: float = 0.0
    seed: int = 0

    name: ClassVar[str] = "child_tuning"
    needs: ClassVar[Needs] = Needs(
        can=("gradient", "weights"),
        splits=("train",),
        tasks=("label", "choice"),
        parts={"weights": ("values",)},
        instead={"gradient": ("in_context",), "train": ("contextual_calibration",)},
    )
    published: ClassVar[Mapping[str, object]] = {  # the official script, RTE, but for its 3 epochs
        "answer": "head", "batch": 16, "lr": 4e-5, "head_lr": 4e-5,
    }  # fmt: skip

    def fit(self, lm: LM, task: Task, prompt: Prompt, *, run: Run | None = None) -> Prompt:
        """Train the weights; where the prompt has the part `weights` already, that is where training starts."""
        run = run or Run()
        self.needs.under(self.answer).check(self.name, lm, task, prompt)
        prompt = replace(prompt, calibration=()).plus(weights=onto(full(lm), prompt.parts.get("weights")))
        rates = {"weights": self.lr}
        if self.answer == "head":
            prompt, rates["head"] = headed(prompt, lm, task, seed=self.seed), self.head_lr
        masks = None
        if self.mode == "D":
            found = fisher(prompt, lm, task.train, nll, part="weights", batch=self.batch, seed=self.seed)
            masks = children(dict(zip(prompt.parts["weights"].tensors(), found, strict=True)), self.share)
        child = Child(prompt.parts["weights"], share=self.share, masks=masks, decay=self.decay_masked)
        optim = each(rates, weight_decay=self.weight_decay, schedule="linear", warmup=self.warmup)
        terms = [Term(task.train, nll, batch=self.batch)]
        tuned = tune(
            prompt.plus(weights=child), lm, terms, optim=optim, steps=self.steps, seed=self.seed, flat=None, run=run
        )
        return tuned.plus(weights=grown(tuned.parts["weights"])).noted(lm, self, task.identity(), **run.figures)
