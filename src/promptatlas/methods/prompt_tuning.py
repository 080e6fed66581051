"""Prompt tuning: a few input vectors are trained, the model is frozen.

Lester, Al-Rfou & Constant 2021, "The Power of Scale for Parameter-Efficient Prompt Tuning", arXiv:2104.08691.

Learns: `length` vectors in the part `soft`, in front of the text or where the template says `{@soft}`.
Needs: any model whose gradient can be had, labelled examples.
Relations: `p_tuning_v2` trains keys and values in every layer instead, which small models need more; `autoprompt` finds
real tokens for the same place; `pattern_tuning` trains the model itself.
Differs: AdamW at a rate, a length and a number of steps that suit small models and few labels; `paper=True` is
Adafactor at 0.3 for 30,000 steps. Under both, the last step's vectors are kept (the paper: the best on dev examples),
gradients are clipped, and there is no z-loss.

Example:
    >>> import promptatlas
    >>> promptatlas.method("prompt_tuning", length=10, steps=50).length
    10
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from promptatlas.data.task import Task
from promptatlas.errors import SettingError
from promptatlas.lm.lm import LM
from promptatlas.parts.vectors import Vectors, digest, of_labels, of_text, uniform, vocabulary
from promptatlas.prompting import Prompt
from promptatlas.train.loop import Term, tune
from promptatlas.train.loss import nll
from promptatlas.train.needs import Needs
from promptatlas.train.optim import Optim
from promptatlas.train.run import Run


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
    seed: int = 0

    name: ClassVar[str] = "prompt_tuning"
    needs: ClassVar[Needs] = Needs(
        can=("gradient",),
        splits=("train",),
        tasks=("label", "choice"),
        instead={"gradient": ("in_context",), "train": ("contextual_calibration",)},
    )
    published: ClassVar[Mapping[str, object]] = {  # sec. 3; weight decay from the released configuration
        "length": 100, "lr": 0.3, "optim": "adafactor", "weight_decay": 1e-5, "batch": 32, "steps": 30_000,
        "flat": None,
    }  # fmt: skip

    def fit(self, lm: LM, task: Task, prompt: Prompt, *, run: Run | None = None) -> Prompt:
        """Train the vectors of the part `soft`; where the prompt has that part already, it is where training starts."""
        run = run or Run()
        self.needs.check(self.name, lm, task, prompt)
        prompt = replace(prompt, calibration=())
        if "soft" not in prompt.parts:
            prompt = prompt.lead(soft=self.beginning(lm, prompt))
        start = digest(prompt.parts["soft"])
        optim = Optim(kind=self.optim, lr=self.lr, weight_decay=self.weight_decay)
        terms = [Term(task.train, nll, batch=self.batch)]
        tuned = tune(
            prompt, lm, terms, optim={"soft": optim}, steps=self.steps, seed=self.seed, flat=self.flat, run=run
        )
        return tuned.noted(lm, self, task.identity(), start=start, **run.figures)

    def beginning(self, lm: LM, prompt: Prompt) -> Vectors:
        """The vectors that training starts from, for a prompt without any; `show` makes them again."""
        if (self.start == "text") != bool(self.text):
            raise SettingError(f"start=`{self.start}` and text=`{self.text}`", hint='`text` goes with start="text"')
        words = [str(prompt.words.word(label)) for label in prompt.labels]
        before = prompt.template.before(prompt.template.slots[0])  # the pieces that are read at the slot
        starts = {
            "labels": lambda: of_labels(lm, words, self.length, before=before, seed=self.seed),
            "vocabulary": lambda: vocabulary(lm, self.length, seed=self.seed),
            "uniform": lambda: uniform(lm, self.length, seed=self.seed),
            "text": lambda: of_text(lm, self.text, self.length, seed=self.seed),
        }
        return starts[self.start]()
