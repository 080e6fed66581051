"""ADAPET: a pattern's label words are trained under the whole vocabulary, and a text's words beside its label.

Tam, Menon, Bansal, Srivastava & Raffel 2021, "Improving and Simplifying Pattern Exploiting Training", arXiv:2103.11955.

Learns: all weights (part `weights`).
Needs: a masked model, labelled examples, a template with one slot, label words or choices of any number of tokens.
Relations: `pattern_tuning` trains the same weights by the labels' shares among each other; `dart` has the second loss
with labels that are vectors.
Differs: both losses are means, as the paper adds them; the released code's gradient accumulation comes to
`decoupled=16`. Each of the two takes its own examples of a step. How words of several tokens are read when the prompt
answers, the words themselves say. The model stays in evaluation mode, the last step is kept (the released code: the
best on the dev set), and rate and steps suit small models.

Example:
    >>> import promptatlas
    >>> promptatlas.method("adapet", conditioned=0.5).rate
    0.105
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from promptatlas.data.task import Task
from promptatlas.data.view import One
from promptatlas.errors import SettingError
from promptatlas.lm.lm import LM
from promptatlas.parts.weights import full
from promptatlas.prompting import Ensemble, Prompt
from promptatlas.train.decoupled import AnyOf, Conditioned, Decoupled
from promptatlas.train.loop import Term, tune
from promptatlas.train.needs import Needs
from promptatlas.train.optim import Optim
from promptatlas.train.run import Run
from promptatlas.train.soft import fitting
from promptatlas.train.spoken import spoken


@dataclass(frozen=True, kw_only=True)
class Adapet:
    """Settings of ADAPET.

    Attributes:
        decoupled: weight of the label loss: each label's word likely or not, whatever else the vocabulary holds.
        conditioned: weight of the loss of masked tokens beside a right label or a wrong one, which doubles the work.
        rate: of that loss: up to this share of a row's tokens is masked.
        draw: of that loss: "uniform", any label is put in; "balanced", the right one half of the time, which counts
            where labels are many.
        marks: of that loss: whether the tokenizer's marks and the label itself may be masked too.
        longest: the most tokens of a label's word; as many masks as the longest has stand at the slot.
        templates: beside the prompt's own; each step draws one, and a mixture of all answers.
        steps: of training.
        batch: examples a step.
        lr: the highest learning rate, which then falls linearly to zero.
        weight_decay: of the weights, biases and gains excepted.
        warmup: share of the steps in which the rate rises.
        seed: of the batches, the labels put in, the masks and the templates drawn.
    """

    decoupled: float = 1.0
    conditioned: float = 1.0
    rate: float = 0.105
    draw: Literal["uniform", "balanced"] = "uniform"
    marks: bool = True
    longest: int = 8
    templates: tuple[str, ...] = ()
    steps: int = 60
    batch: int = 8
    lr: float = 3e-4
    weight_decay: float = 0.01
    warmup: float = 0.06
    seed: int = 0

    name: ClassVar[str] = "adapet"
    needs: ClassVar[Needs] = Needs(
        kinds=("masked",),
        can=("gradient", "weights"),
        splits=("train",),
        tasks=("label", "choice"),
        instead={"causal": ("pattern_tuning",), "seq2seq": ("pattern_tuning",), "train": ("contextual_calibration",)},
    )
    published: ClassVar[Mapping[str, object]] = {  # the released code: one example, accumulated 16 times
        "steps": 1000, "batch": 16, "lr": 1e-5, "seed": 42,
    }  # fmt: skip

    def fit(self, lm: LM, task: Task, prompt: Prompt, *, run: Run | None = None) -> Prompt | Ensemble:
        """Train the weights; where the prompt has the part `weights` already, that is where training starts."""
        run = run or Run()
        self.needs.check(self.name, lm, task, prompt)
        told = Conditioned(self.rate, self.draw == "balanced", self.marks, self.longest)
        losses = ((self.decoupled, Decoupled(self.longest)), (self.conditioned, told))
        if min(self.decoupled, self.conditioned) < 0 or self.decoupled + self.conditioned == 0:
            weights = f"`decoupled` is {self.decoupled:g} and `conditioned` {self.conditioned:g}"
            raise SettingError(f"{weights}: nothing is left to train by", hint="one is above 0, and neither below")
        templates = (prompt.template, *fitting(self.templates, prompt))
        prompts = [replace(prompt, template=one, calibration=()) for one in templates]
        for one in prompts:
            for example in task.train:  # what can't be said is found before any work
                spoken(one, lm, example, self.longest)
        start = prompts[0] if "weights" in prompt.parts else prompts[0].plus(weights=full(lm))
        terms = [
            Term(task.train, AnyOf(loss, templates), weight=weight, batch=self.batch)
            for weight, loss in losses if weight
        ]  # fmt: skip
        optim = Optim(lr=self.lr, weight_decay=self.weight_decay, schedule="linear", warmup=self.warmup)
        tuned = tune(start, lm, terms, optim={"weights": optim}, steps=self.steps, seed=self.seed, flat=None, run=run)
        made = tuple(replace(tuned, template=one).noted(lm, self, task.identity(), **run.figures) for one in templates)
        return made[0] if len(made) == 1 else Ensemble(prompts=made, mix=isinstance(prompt.view, One))
