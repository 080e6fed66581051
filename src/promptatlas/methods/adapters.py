"""Adapters: two narrow residual networks in every layer are trained, and the normalisations; the model is frozen.

Houlsby, Giurgiu, Jastrzebski, Morrone, de Laroussilhe, Gesmundo, Attariyan & Gelly 2019, "Parameter-Efficient Transfer
Learning for NLP", arXiv:1902.00751; one a layer, behind its skip and normalisation: Pfeiffer et al. 2021,
arXiv:2005.00247.

Learns: a bottleneck behind each sub-layer's output, before the skip is added (part `adapters`), all LayerNorms, that of
the embeddings too (part `norms`), and a classifier (part `head`) unless the words answer.
Needs: labelled examples; any kind of model whose weights can be had.
Relations: `lora` adds as many numbers to the weights themselves, so nothing is left to run; `bitfit` trains fewer.
Differs: the model stays in evaluation mode (no dropout); Adam corrects its bias; Pfeiffer's place has a plain residual,
not the layer's own normalisation a second time. Rate, steps, width and batch suit small models.

Example:
    >>> import promptatlas
    >>> promptatlas.method("adapters", width=8, places="pfeiffer").answer
    'head'
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from promptatlas.data.task import Task
from promptatlas.lm.lm import LM
from promptatlas.parts.adapters import adapters
from promptatlas.parts.weights import changed, norms, onto
from promptatlas.prompting import Prompt
from promptatlas.prompting.headed import headed
from promptatlas.train.loop import Term, tune
from promptatlas.train.loss import nll
from promptatlas.train.needs import Needs
from promptatlas.train.optim import each
from promptatlas.train.run import Run

PLACES = {"houlsby": ("attention.out", "down"), "pfeiffer": ("layer",)}


@dataclass(frozen=True, kw_only=True)
class AdapterTuning:
    """Settings of adapters.

    Attributes:
        width: of the bottleneck; 8, 64 or 256 on GLUE (sec. 3.2).
        places: "houlsby": behind both sub-layers; "pfeiffer": behind the layer as a whole.
        start: "normal", or "zero": exactly the identity.
        scale: deviation of the weights at first, 1e-3 in the official code; up to 1e-2 makes no difference (sec. 3.6).
        activation: "gelu_tanh" as in the official code, "gelu", "relu", "silu" or "tanh".
        train_norms: whether the LayerNorms are trained (sec. 2.1).
        answer: "head", a linear classifier of plain fields, or "words", the prompt's own label words.
        steps: of training.
        batch: examples a step.
        lr: the highest learning rate; about ten times that of training all weights.
        head_lr: of the head.
        weight_decay: of matrices; biases and gains are left out, as in the official code.
        warmup: share of the steps in which the rate rises; it then falls linearly (sec. 3.1).
        seed: of the start and the batches.
    """

    width: int = 16
    places: Literal["houlsby", "pfeiffer"] = "houlsby"
    start: Literal["normal", "zero"] = "normal"
    scale: float = 1e-3
    activation: Literal["gelu_tanh", "gelu", "relu", "silu", "tanh"] = "gelu_tanh"
    train_norms: bool = True
    answer: Literal["words", "head"] = "head"
    steps: int = 100
    batch: int = 8
    lr: float = 3e-3
    head_lr: float = 1e-2
    weight_decay: float = 0.01
    warmup: float = 0.1
    seed: int = 0

    name: ClassVar[str] = "adapters"
    needs: ClassVar[Needs] = Needs(
        can=("gradient", "weights"),
        splits=("train",),
        tasks=("label", "choice"),
        parts={"adapters": ("adapters",), "norms": ("values",)},
        slot=False,
        instead={"gradient": ("in_context",), "train": ("contextual_calibration",)},
    )
    published: ClassVar[Mapping[str, object]] = {  # the official example, MRPC, but for its 5 epochs
        "width": 64, "batch": 32, "lr": 3e-4, "head_lr": 3e-4,
    }  # fmt: skip

    def fit(self, lm: LM, task: Task, prompt: Prompt, *, run: Run | None = None) -> Prompt:
        """Train adapters, normalisations and head; those the prompt has already are where training starts."""
        run = run or Run()
        replace(self.needs, slot=self.answer == "words").under(self.answer).check(self.name, lm, task, prompt)
        prompt = replace(prompt, calibration=())
        if "adapters" not in prompt.parts:
            made = adapters(lm, width=self.width, seed=self.seed, places=PLACES[self.places], scale=self.scale,
                            start=self.start, activation=self.activation)  # fmt: skip
            prompt = prompt.plus(adapters=made)
        rates = {"adapters": self.lr}
        if self.train_norms:
            prompt = prompt.plus(norms=onto(norms(lm), prompt.parts.get("norms")))
            rates["norms"] = self.lr
        if self.answer == "head":
            prompt, rates["head"] = headed(prompt, lm, task, seed=self.seed), self.head_lr
        optim = each(rates, weight_decay=self.weight_decay, schedule="linear", warmup=self.warmup)
        terms = [Term(task.train, nll, batch=self.batch)]
        tuned = tune(prompt, lm, terms, optim=optim, steps=self.steps, seed=self.seed, flat=None, run=run)
        tuned = tuned.plus(norms=changed(tuned.parts["norms"], lm)) if self.train_norms else tuned
        return tuned.noted(lm, self, task.identity(), **run.figures)
