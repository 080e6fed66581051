"""Prompt tuning: a few input vectors are trained, the model is frozen.

Lester, Al-Rfou & Constant 2021, "The Power of Scale for Parameter-Efficient Prompt Tuning", arXiv:2104.08691.

Learns: `length` vectors in the part `soft`, in front of the text or where the template says `{@soft}`.
Needs: any model whose gradient can be had, labelled examples; or texts to write, and a model that writes.
Relations: `p_tuning` trains them through an encoder; `p_tuning_v2` trains keys and values in every layer, which small
models need more; `autoprompt` finds real tokens for the same place; `pattern_tuning` trains the model itself.
Differs: AdamW; rate, length and steps suit small models and few labels; the loss is among the labels, and the last step
is kept; `paper=True` is Adafactor at 0.3 for 30,000 steps, the target's own tokens with z-loss, and the best vectors on
dev examples. Gradients are clipped; an end mark has a loss behind texts, not behind labels.

Example:
    >>> import promptatlas
    >>> promptatlas.method("prompt_tuning", length=10, steps=50).length
    10
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, Literal

from promptatlas.data.task import Task
from promptatlas.errors import SettingError
from promptatlas.lm.lm import LM
from promptatlas.parts.vectors import Vectors, digest, of_labels, of_text, uniform, vocabulary
from promptatlas.prompting import Ensemble, Prompt
from promptatlas.train.loop import Term, tune
from promptatlas.train.loss import nll
from promptatlas.train.needs import Needs
from promptatlas.train.optim import Optim
from promptatlas.train.run import Run
from promptatlas.train.written import Written, pairs


@dataclass(frozen=True, kw_only=True)
class PromptTuning:
    """Settings of prompt tuning.

    Attributes:
        length: vectors; past 20 little is gained (sec. 3.2), and a small model learns fewer sooner.
        start: "labels" (the label words' vectors, then common pieces), "vocabulary", "uniform" or "text" (sec. 3.2).
        text: what "text" starts from.
        steps: the most steps.
        batch: examples a step.
        lr: the learning rate.
        optim: "adamw" or "adafactor" (sec. 3: Adafactor without parameter scaling).
        weight_decay: of the vectors.
        flat: stops, from 400 steps on, when the training loss falls by less than this share; None never.
        loss: among the "labels", or of the word's tokens under the whole "vocabulary" (the paper's; always of texts).
        z: weight of the squared log-sum of the logits beside the second (released configuration: 1e-4).
        keep: the vectors of the "last" step, or the "best" on dev examples (the paper's).
        every: steps between two measurements on dev examples.
        members: prompts, each of a seed of its own, that vote (the paper: 5); one answers alone.
        seed: of the start and the batches.
    """

    length: int = 10
    start: Literal["labels", "vocabulary", "uniform", "text"] = "labels"
    text: str = ""
    steps: int = 200
    batch: int = 8
    lr: float = 5e-3
    optim: Literal["adamw", "adafactor"] = "adamw"
    weight_decay: float = 0.0
    flat: float | None = 1e-3
    loss: Literal["labels", "vocabulary"] = "labels"
    z: float = 0.0
    keep: Literal["last", "best"] = "last"
    every: int = 100
    members: int = 1
    seed: int = 0

    name: ClassVar[str] = "prompt_tuning"
    needs: ClassVar[Needs] = Needs(
        can=("gradient",), splits=("train",), tasks=("label", "choice", "text"), parts={"soft": ("vectors",)},
        instead={"gradient": ("in_context",), "train": ("contextual_calibration",)},
    )  # fmt: skip
    published: ClassVar[Mapping[str, object]] = {  # sec. 3; weight decay from the released configuration
        "length": 100, "lr": 0.3, "optim": "adafactor", "weight_decay": 1e-5, "batch": 32, "steps": 30_000,
        "flat": None, "loss": "vocabulary", "z": 1e-4, "keep": "best",
    }  # fmt: skip

    def fit(self, lm: LM, task: Task, prompt: Prompt, *, run: Run | None = None) -> Prompt | Ensemble:
        """Train the part `soft`, from where it is if the prompt has it; with members, an ensemble that votes."""
        run = run or Run()
        self.needs.check(self.name, lm, task, prompt)
        if self.members == 1:
            return self._one(lm, task, prompt, run)
        alone = [replace(self, members=1, seed=self.seed + at) for at in range(self.members)]
        made = [run.stage(f"seed-{one.seed}", partial(one._one, lm, task, prompt, run)) for one in alone]
        return Ensemble(prompts=tuple(made), vote=True)

    def _one(self, lm: LM, task: Task, prompt: Prompt, run: Run) -> Prompt:
        text = task.kind == "text"
        prompt = replace(prompt, calibration=(), view=task.view if text else prompt.view)
        if "soft" not in prompt.parts:
            prompt = prompt.lead(soft=self.beginning(lm, prompt))
        optim = {"soft": Optim(kind=self.optim, lr=self.lr, weight_decay=self.weight_decay)}
        loss = nll if self.loss == "labels" and not text else Written(z=self.z, end=text)  # a word is scored without
        train, dev = (pairs(some) if text and some else some for some in (task.train, task.dev))
        tuned = tune(
            prompt, lm, [Term(train, loss, batch=self.batch)], optim=optim, steps=self.steps, seed=self.seed,
            flat=self.flat, keep=self.keep, dev=dev if self.keep == "best" else None, every=self.every, run=run,
        )  # fmt: skip
        return tuned.noted(lm, self, task.identity(), start=digest(prompt.parts["soft"]), **run.figures)

    def beginning(self, lm: LM, prompt: Prompt) -> Vectors:
        """The vectors that training starts from, for a prompt without any; `show` makes them again."""
        if (self.start == "text") != bool(self.text):
            raise SettingError(f"start=`{self.start}` and text=`{self.text}`", hint='`text` goes with start="text"')
        if self.start == "text":
            return of_text(lm, self.text, self.length, seed=self.seed)
        if self.start != "labels":
            return (uniform if self.start == "uniform" else vocabulary)(lm, self.length, seed=self.seed)
        template, words = prompt.template, [str(prompt.words.word(label)) for label in prompt.labels]
        return of_labels(lm, words, self.length, before=template.before(template.slots[0]), seed=self.seed)
