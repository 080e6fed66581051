"""PET: a model for each of several patterns; together they label text, from which a classifier learns.

Schick & Schütze 2021, "Exploiting Cloze Questions for Few-Shot Text Classification and Natural Language Inference",
arXiv:2001.07676; words of several tokens: Schick & Schütze 2021, "It's Not Just Size That Matters: Small Language
Models Are Also Few-Shot Learners", arXiv:2009.07118.

Learns: all weights and a classifier (parts `weights`, `head`); without distillation, all weights of each model.
Needs: labelled examples, texts without labels, label words; patterns beside the prompt's own make it worth its price.
Relations: `pattern_tuning` trains one pattern and no more; in `ipet` the models teach each other first.
Differs: rate, steps and batches suit small models and few labels; the model stays in evaluation mode (no dropout);
fields are cut in proportion; in the masked-LM loss each text counts the same, not each token; the classifier reads what
`fine_tuning`'s does, and is warmed up.

Example:
    >>> import promptatlas
    >>> promptatlas.method("pet", patterns=("{text} All in all {mask}.", "Just {mask}! {text}")).temperature
    2.0
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, Literal

from promptatlas.data.task import Task
from promptatlas.lm.ask import Order
from promptatlas.lm.lm import LM
from promptatlas.prompting import Ensemble, Prompt
from promptatlas.train.distil import LabelWords, Lessons, agreement, auxiliary, merged, pool, student, teachers, told
from promptatlas.train.needs import Needs
from promptatlas.train.optim import Optim
from promptatlas.train.run import Run


@dataclass(frozen=True, kw_only=True)
class Pet:
    """Settings of PET.

    Attributes:
        patterns: templates beside the prompt's own.
        words: label words beside the prompt's own; every pattern goes with each.
        repeats: models a pattern, which see the examples in other orders.
        weighting: a model counts by its pattern's "accuracy" before training, or all alike: "uniform".
        several: how words of several tokens are filled in, once learned, in a masked model: see `Words`.
        distil: learn a classifier; else the models are kept, as an ensemble.
        alpha: share of the masked-LM loss; none: 1e-4 in a masked model, 0 in others.
        steps: of a model.
        batch: labelled examples a step.
        unlabeled_batch: texts a step, for the masked-LM loss.
        lr: the highest learning rate of the weights, which falls linearly to zero.
        weight_decay: of the weights, biases and gains excepted.
        most_unlabeled: texts at most, drawn at random; none: all.
        temperature: of the classifier's loss; above 1, small probabilities count for more.
        student_steps: of the classifier.
        student_batch: texts a step.
        head_lr: of the classifier's head, which starts from nothing.
        seed: of batches, masks and the head's start.
    """

    patterns: tuple[str, ...] = ()
    words: tuple[LabelWords, ...] = ()
    repeats: int = 3
    weighting: Literal["accuracy", "uniform"] = "accuracy"
    several: Order = "confident"
    distil: bool = True
    alpha: float | None = None
    steps: int = 60
    batch: int = 4
    unlabeled_batch: int = 12
    lr: float = 3e-4
    weight_decay: float = 0.01
    most_unlabeled: int | None = 2000
    temperature: float = 2.0
    student_steps: int = 200
    student_batch: int = 16
    head_lr: float = 1e-2
    seed: int = 0

    name: ClassVar[str] = "pet"
    needs: ClassVar[Needs] = Needs(
        can=("gradient", "hidden", "weights"),
        splits=("train", "unlabeled"),
        instead={
            "gradient": ("in_context",), "train": ("contextual_calibration", "ipet"),
            "unlabeled": ("pattern_tuning", "fine_tuning", "dart"),
        },
    )  # fmt: skip
    published: ClassVar[Mapping[str, object]] = {  # the released code; 10,000 texts a label
        "steps": 1000, "lr": 1e-5, "head_lr": 1e-5, "most_unlabeled": None, "student_steps": 5000,
    }  # fmt: skip

    def fit(self, lm: LM, task: Task, prompt: Prompt, *, run: Run | None = None) -> Prompt | Ensemble:
        """Train a model after the other, each from the start; calibration and demonstrations are dropped."""
        run = run or Run()
        needs = self.needs if self.distil else replace(self.needs, splits=("train",))
        needs.check(self.name, lm, task, prompt)
        staff = teachers(prompt, lm, task, self.patterns, self.words, several=self.several,
                         uniform=self.weighting == "uniform", repeats=self.repeats)  # fmt: skip
        texts = pool(task, self.most_unlabeled, self.seed)
        optim = Optim(lr=self.lr, weight_decay=self.weight_decay, schedule="linear")
        lessons = Lessons(lm=lm, texts=texts, alpha=auxiliary(self.alpha, lm, texts), steps=self.steps, run=run,
                          batch=self.batch, unlabeled_batch=self.unlabeled_batch, optim=optim)  # fmt: skip
        if not self.distil:
            members = [
                run.stage(f"teacher-{at}", partial(lessons.taught, one.prompt, task.train, self.seed + at))
                for at, one in enumerate(staff)
            ]
            noted = tuple(one.noted(lm, self, task.identity(), **told(staff, texts)) for one in members)
            return Ensemble(prompts=noted, weights=tuple(one.weight for one in staff))
        opinions = [
            lessons.opinion(f"teacher-{at}", one.prompt, task.train, self.seed + at) for at, one in enumerate(staff)
        ]
        target = merged(opinions, [one.weight for one in staff])
        learned = student(staff, lessons, target, temperature=self.temperature, steps=self.student_steps,
                          batch=self.student_batch, head_lr=self.head_lr, seed=self.seed)  # fmt: skip
        figures = {**told(staff, texts), "agreement": agreement(opinions, target), **run.figures}
        return learned.noted(lm, self, task.identity(), **figures)
