"""P-tuning: vectors anywhere in the template, trained through a small LSTM or MLP that is dropped afterwards.

Liu, Zheng, Du, Ding, Qian, Yang & Tang 2021, "GPT Understands, Too", arXiv:2103.10385.

Learns: the vectors of every part the template names and the prompt doesn't have (`{@a} {text} {@b} {mask}`), all as one
sequence in the template's order, its words between them staying as they are; else of a part `soft` in front. The
model's weights too (part `weights`), where they are given a rate.
Needs: labelled examples, any model whose gradient can be had.
Relations: `prompt_tuning` trains such vectors directly; `p_tuning_v2` trains keys and values in every layer.
Differs: a causal model is trained and read at the last position of the prompt (the released code trains at the one
before). Rate, steps and batch suit small models and few labels, and the last step is kept; the paper's few-shot runs
stop on dev examples. Vectors that the prompt has already are trained on as they are, without an encoder.

Example:
    >>> import promptatlas
    >>> promptatlas.method("p_tuning", encoder="mlp", length=2).encoder
    'mlp'
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from promptatlas.data.task import Task
from promptatlas.lm.lm import LM
from promptatlas.parts.reparam import Encoded, encoded
from promptatlas.parts.vectors import Vectors
from promptatlas.parts.weights import full
from promptatlas.prompting import Prompt
from promptatlas.train.loop import Term, tune
from promptatlas.train.loss import nll
from promptatlas.train.needs import Needs
from promptatlas.train.optim import Optim
from promptatlas.train.run import Run
from promptatlas.train.written import Written


@dataclass(frozen=True, kw_only=True)
class PTuning:
    """Settings of P-tuning.

    Attributes:
        length: vectors of each place (the released templates for facts: 3).
        encoder: "lstm" of half the width a direction (released code for facts), "wide_lstm" of the whole (for few
            labels), or "mlp" alone.
        loss: among the "labels" (released code for few labels), or of the word under the whole "vocabulary" (facts).
        steps: the most steps.
        batch: examples a step.
        lr: the highest learning rate of the vectors and their encoder; it falls linearly.
        weight_decay: of the same.
        warmup: share of the steps in which the rate rises.
        lm_lr: of the model's weights (released code for few labels: 1e-5, weight decay 0.1); None: they are frozen.
        keep: the vectors of the "last" step, or the "best" on dev examples.
        every: steps between two measurements on dev examples.
        patience: measurements without a better one after which training stops; None: never.
        seed: of the start and the batches.
    """

    length: int = 3
    encoder: Literal["lstm", "wide_lstm", "mlp"] = "lstm"
    loss: Literal["labels", "vocabulary"] = "labels"
    steps: int = 200
    batch: int = 8
    lr: float = 5e-3
    weight_decay: float = 0.0
    warmup: float = 0.0
    lm_lr: float | None = None
    keep: Literal["last", "best"] = "last"
    every: int = 20
    patience: int | None = None
    seed: int = 0

    name: ClassVar[str] = "p_tuning"
    needs: ClassVar[Needs] = Needs(
        can=("gradient",),
        splits=("train",),
        tasks=("label", "choice"),
        instead={"gradient": ("in_context",), "train": ("contextual_calibration",)},
    )
    published: ClassVar[Mapping[str, object]] = {  # the released script of RTE with few labels
        "length": 1, "encoder": "wide_lstm", "steps": 3500, "batch": 2, "lr": 1e-4, "lm_lr": 1e-5, "keep": "best",
        "warmup": 150 / 3500, "patience": 10,
    }  # fmt: skip

    def fit(self, lm: LM, task: Task, prompt: Prompt, *, run: Run | None = None) -> Prompt:
        """Train the vectors of the template's places, and keep them without their encoder."""
        run = run or Run()
        self.needs.check(self.name, lm, task, prompt)
        prompt = replace(prompt, calibration=())
        there = {name: one for name, one in prompt.parts.items() if isinstance(one, Vectors)}
        lacking = [name for name in prompt.template.parts if name not in prompt.parts]
        made: Mapping[str, Any] = there
        if lacking or not there:
            made = encoded(lm, self.encoder, dict.fromkeys(lacking or ["soft"], self.length), seed=self.seed)
            prompt = prompt.plus(**made) if lacking else prompt.lead(**made)
        optim = dict.fromkeys(made, self._optim(self.lr, self.weight_decay))
        if self.lm_lr is not None:
            prompt = prompt if "weights" in prompt.parts else prompt.plus(weights=full(lm))
            optim["weights"] = self._optim(self.lm_lr, 0.1)
        terms = [Term(task.train, nll if self.loss == "labels" else Written(end=False), batch=self.batch)]
        dev = task.dev if self.keep == "best" or self.patience is not None else None
        tuned = tune(
            prompt, lm, terms, optim=optim, steps=self.steps, seed=self.seed, dev=dev, keep=self.keep,
            every=self.every, patience=self.patience, flat=None, run=run,
        )  # fmt: skip
        flat = {name: one.flat() for name, one in tuned.parts.items() if isinstance(one, Encoded)}
        return tuned.plus(**flat).noted(lm, self, task.identity(), **run.figures)

    def _optim(self, lr: float, weight_decay: float) -> Optim:
        return Optim(lr=lr, weight_decay=weight_decay, schedule="linear", warmup=self.warmup)
