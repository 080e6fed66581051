"""Feature extraction: a classifier of all layers' states, mixed by learned weights; the model is frozen.

Peters, Ruder & Smith 2019, "To Tune or Not to Tune? Adapting Pretrained Representations to Diverse Tasks",
arXiv:1903.05987; the mix is ELMo's: Peters et al. 2018, arXiv:1802.05365.

Learns: a weight a layer, one size for all, and a linear classifier (part `head`). Nothing it trains lies below the
states, so that each text goes through the model once, however many steps there are.
Needs: labelled examples, and a model whose states can be read. The template's words play no part, its fields do.
Relations: `fine_tuning` is the other half of the paper's comparison: the same classifier on top, the model trained too.
Differs: a linear classifier of the pooled states; the paper's task models (biattentive networks, ESIM, BiLSTM and CRF)
have millions of numbers, which few labels don't train. The rate and the number of steps suit it.

Example:
    >>> import promptatlas
    >>> promptatlas.method("feature_extraction", layers="last").layers
    'last'
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, cast

from promptatlas.data.task import Task
from promptatlas.demos.pick import NoDemos
from promptatlas.lm.lm import LM
from promptatlas.parts.mix import mix
from promptatlas.prompting import Prompt
from promptatlas.prompting.headed import headed
from promptatlas.score.soft import Classifier
from promptatlas.train.loop import Term, tune
from promptatlas.train.loss import nll
from promptatlas.train.needs import Needs
from promptatlas.train.optim import Optim
from promptatlas.train.run import Run


@dataclass(frozen=True, kw_only=True)
class FeatureExtraction:
    """Settings of feature extraction.

    Attributes:
        layers: "all", mixed, or "last" alone, which the paper finds to be a handicap.
        pool: the state the head reads for a label: "first", "last", "mean", or "" for what suits the kind.
        steps: of training; they cost next to nothing.
        batch: examples a step.
        lr: the learning rate.
        weight_decay: of the classifier.
        seed: of the classifier's start and the batches.
    """

    layers: Literal["all", "last"] = "all"
    pool: Literal["", "first", "last", "mean"] = ""
    steps: int = 400
    batch: int = 16
    lr: float = 1e-2
    weight_decay: float = 0.01
    seed: int = 0

    name: ClassVar[str] = "feature_extraction"
    needs: ClassVar[Needs] = Needs(
        can=("gradient", "hidden"),
        splits=("train",),
        tasks=("label", "tags"),
        slot=False,
        words=False,
        instead={"gradient": ("in_context",), "train": ("contextual_calibration",)},
    )
    published: ClassVar[Mapping[str, object]] = {"lr": 1e-3}

    def fit(self, lm: LM, task: Task, prompt: Prompt, *, run: Run | None = None) -> Prompt:
        """Train the head on the plain fields; one that the prompt has already is where training starts."""
        run = run or Run()
        self.needs.check(self.name, lm, task, prompt)
        prompt = replace(prompt, demos=NoDemos(), calibration=())
        if "head" not in prompt.parts:
            prompt = self._started(lm, task, prompt)
        optim = {"head": Optim(lr=self.lr, weight_decay=self.weight_decay)}
        terms = [Term(task.train, nll, batch=self.batch)]
        tuned = tune(prompt, lm, terms, optim=optim, steps=self.steps, seed=self.seed, flat=None, run=run)
        return tuned.noted(lm, self, task.identity(), **run.figures)

    def _started(self, lm: LM, task: Task, prompt: Prompt) -> Prompt:
        """With a fresh head of all layers, or of the last."""
        last = headed(prompt, lm, task, seed=self.seed, pool=self.pool or None)
        if self.layers == "last":
            return last
        made = mix(lm, len(task.labels), seed=self.seed)
        layers = tuple(range(len(made.tensors()["mix"])))
        return replace(last.plus(head=made), words=replace(cast(Classifier, last.words), layers=layers))
