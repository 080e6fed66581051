"""WARP: vectors among the words of the input and a vector a label are trained, the model is frozen.

Hambardzumyan, Khachatrian & May 2021, "WARP: Word-level Adversarial ReProgramming", arXiv:2101.00121.

Learns: vectors wherever the template has a part called `warp…` (where it has none, `start` says where), and a row and a
bias a label (part `label_vectors`), held against what enters the output projection at the slot.
Needs: a masked model, a template with one slot, labelled examples.
Relations: `prompt_tuning` trains vectors alone and keeps the label words; `dart` trains the same two and the model too;
`p_tuning_v2` trains keys and values in every layer. Under `start="words"` and `labels="words"` training begins where
the plain prompt stands. A prompt that has its `warp` parts and words keeps the vectors and learns new labels, as when
small tasks start from the vectors of a large one.
Differs: rate, steps and a start from words suit small models and few labels; `paper=True` is the released command's,
but for its 30 epochs: set `steps` to as many. The last step is kept (the paper: the best epoch on dev examples).
Regression is left out; a label of several words starts from their mean.

Example:
    >>> import promptatlas
    >>> promptatlas.method("warp", start="mask", length=5).labels
    'words'
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, cast

from promptatlas.data.task import Task
from promptatlas.lm.lm import LM
from promptatlas.parts.head import random_rows
from promptatlas.parts.soften import fresh, spaced
from promptatlas.prompting import Prompt
from promptatlas.score.soft import LabelVectors, rows_of
from promptatlas.text.template import Template
from promptatlas.train.loop import Term, tune
from promptatlas.train.loss import nll
from promptatlas.train.needs import Needs
from promptatlas.train.optim import Optim
from promptatlas.train.run import Run
from promptatlas.train.soft import softened


@dataclass(frozen=True, kw_only=True)
class Warp:
    """Settings of WARP.

    Attributes:
        start: of the vectors: "words", the template's own, each piece a vector in its place (the paper's WARP_init); or
            `length` vectors in front of, between and behind fields and slot, the template's words left out: the "mask"
            token's; "alike", normal with the mean and deviation of all the model's; or "normal" around zero.
        length: vectors at each place, but for "words"; the released command has four places of 5.
        labels: start of the label rows: "words", the label words' rows and biases, or "random".
        steps: the most steps.
        batch: examples a step.
        lr: the highest learning rate; large ones are unstable on few examples.
        warmup: share of the steps in which the rate rises; it then falls slowly.
        flat: stops, from 400 steps on, when the training loss falls by less than this share; None never.
        seed: of random starts and the batches.
    """

    start: Literal["words", "mask", "alike", "normal"] = "words"
    length: int = 3
    labels: Literal["words", "random"] = "words"
    steps: int = 200
    batch: int = 8
    lr: float = 5e-3
    warmup: float = 0.06
    flat: float | None = 1e-3
    seed: int = 0

    name: ClassVar[str] = "warp"
    needs: ClassVar[Needs] = Needs(
        kinds=("masked",),
        can=("gradient",),
        splits=("train",),
        instead={"causal": ("prompt_tuning",), "seq2seq": ("prompt_tuning",), "train": ("contextual_calibration",)},
    )
    published: ClassVar[Mapping[str, object]] = {  # the released RTE command and its configuration
        "start": "mask", "length": 5, "labels": "random", "lr": 1e-3, "flat": None,
    }  # fmt: skip

    def fit(self, lm: LM, task: Task, prompt: Prompt, *, run: Run | None = None) -> Prompt:
        """Train the vectors and the labels' rows; those the prompt has under their names are where training starts."""
        run = run or Run()
        self.needs.check(self.name, lm, task, prompt)
        prompt = self._with_rows(lm, replace(prompt, calibration=()))
        prompt = self._with_vectors(lm, task, prompt)
        trained = (cast(LabelVectors, prompt.words).part, *self._own(prompt.template))
        optim = dict.fromkeys(trained, Optim(lr=self.lr, schedule="slanted", warmup=self.warmup))
        terms = [Term(task.train, nll, batch=self.batch)]
        tuned = tune(prompt, lm, terms, optim=optim, steps=self.steps, seed=self.seed, flat=self.flat, run=run)
        return tuned.noted(lm, self, task.identity(), **run.figures)

    def _with_rows(self, lm: LM, prompt: Prompt) -> Prompt:
        """A row a label; words are looked up in place, before what is around them turns into vectors."""
        if isinstance(prompt.words, LabelVectors):
            return prompt
        labels = LabelVectors(labels=prompt.labels)
        if self.labels == "random":
            rows = random_rows(lm, len(labels.labels), seed=self.seed)
        else:
            rows = rows_of(prompt.words, lm, prompt.template, single=True)
        return replace(prompt.plus(**{labels.part: rows}), words=labels)

    def _with_vectors(self, lm: LM, task: Task, prompt: Prompt) -> Prompt:
        if not self._own(prompt.template):
            if self.start == "words":
                return softened(prompt, lm, task.train[0].fields, self.name)
            prompt = replace(prompt, template=spaced(prompt.template, self.name))
        start = "mask" if self.start == "words" else self.start
        missing = [part for part in self._own(prompt.template) if part not in prompt.parts]
        return prompt.plus(
            **{part: fresh(lm, start, self.length, seed=self.seed + at) for at, part in enumerate(missing)}
        )

    def _own(self, template: Template) -> list[str]:
        return [part for part in template.parts if part.startswith(self.name)]
