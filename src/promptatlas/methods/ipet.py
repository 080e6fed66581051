"""iPET: PET over generations, in which models of several patterns label ever more text for each other.

Schick & Schütze 2021, "Exploiting Cloze Questions for Few-Shot Text Classification and Natural Language Inference",
arXiv:2001.07676.

Learns: all weights and a classifier (parts `weights`, `head`), from what the last generation says of the texts.
Needs: texts without labels, label words, two models at least: patterns beside the prompt's own, or repeats. Labelled
examples are not needed: without them the untrained patterns label for the first generation.
Relations: `pet` is the generation that learned from the labelled examples alone; `pattern_tuning` a single one of it.
Differs: as `pet` does; one other model labels at least; where fewer texts are found to have a label than are wanted,
all are taken, and none twice; a label that no text is found to have is left out of the drawing, with a warning.

Example:
    >>> import promptatlas
    >>> promptatlas.method("ipet", patterns=("{text} All in all {mask}.", "Just {mask}! {text}")).growth
    5.0
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from promptatlas.data.task import Task
from promptatlas.lm.ask import Order
from promptatlas.lm.lm import LM
from promptatlas.prompting import Prompt
from promptatlas.train.distil import LabelWords, Lessons, agreement, auxiliary, merged, pool, student, teachers, told
from promptatlas.train.generations import raised
from promptatlas.train.needs import Needs
from promptatlas.train.optim import Optim
from promptatlas.train.run import Run


@dataclass(frozen=True, kw_only=True)
class IPet:
    """Settings of iPET.

    Attributes:
        patterns: templates beside the prompt's own.
        words: label words beside the prompt's own; every pattern goes with each.
        repeats: models a pattern.
        generations: after the first, which learns from the labelled examples alone; the paper has 2, and 3 where there
            are but 10 labelled examples.
        growth: each generation has so many times the examples of the one before.
        share: of the other models, those that label for one.
        weighting: a model counts by its pattern's "accuracy" before training, or all alike: "uniform".
        several: how words of several tokens are filled in, once learned, in a masked model: see `Words`.
        alpha: share of the masked-LM loss; none: 1e-4 in a masked model, 0 in others.
        steps: of a model, in each generation.
        batch: labelled examples a step.
        unlabeled_batch: texts a step, for the masked-LM loss.
        lr: the highest learning rate of the weights, which falls linearly to zero.
        weight_decay: of the weights, biases and gains excepted.
        most_unlabeled: texts at most, drawn at random; none: all.
        temperature: of the classifier's loss; above 1, small probabilities count for more.
        student_steps: of the classifier.
        student_batch: texts a step.
        head_lr: of the classifier's head, which starts from nothing.
        seed: of batches, masks, drawings and the head's start.
    """

    patterns: tuple[str, ...] = ()
    words: tuple[LabelWords, ...] = ()
    repeats: int = 3
    generations: int = 2
    growth: float = 5.0
    share: float = 0.25
    weighting: Literal["accuracy", "uniform"] = "accuracy"
    several: Order = "confident"
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

    name: ClassVar[str] = "ipet"
    needs: ClassVar[Needs] = Needs(
        can=("gradient", "hidden", "weights"),
        splits=("unlabeled",),
        instead={"gradient": ("in_context",), "unlabeled": ("pattern_tuning", "fine_tuning", "dart")},
    )
    published: ClassVar[Mapping[str, object]] = {  # the released code; 10,000 texts a label
        "steps": 1000, "lr": 1e-5, "head_lr": 1e-5, "most_unlabeled": None, "student_steps": 5000,
    }  # fmt: skip

    def fit(self, lm: LM, task: Task, prompt: Prompt, *, run: Run | None = None) -> Prompt:
        """Train a model after the other, each from the start; calibration and demonstrations are dropped."""
        run = run or Run()
        self.needs.check(self.name, lm, task, prompt)
        staff = teachers(prompt, lm, task, self.patterns, self.words, several=self.several,
                         uniform=self.weighting == "uniform", repeats=self.repeats)  # fmt: skip
        texts = pool(task, self.most_unlabeled, self.seed)
        optim = Optim(lr=self.lr, weight_decay=self.weight_decay, schedule="linear")
        lessons = Lessons(lm=lm, texts=texts, alpha=auxiliary(self.alpha, lm, texts), steps=self.steps, run=run,
                          batch=self.batch, unlabeled_batch=self.unlabeled_batch, optim=optim)  # fmt: skip
        opinions = raised(staff, lessons, task.train, generations=self.generations, growth=self.growth,
                          share=self.share, seed=self.seed)  # fmt: skip
        target = merged(opinions, [one.weight for one in staff])
        learned = student(staff, lessons, target, temperature=self.temperature, steps=self.student_steps,
                          batch=self.student_batch, head_lr=self.head_lr, seed=self.seed)  # fmt: skip
        figures = {**told(staff, texts), "agreement": agreement(opinions, target), **run.figures}
        return learned.noted(lm, self, task.identity(), **figures)
