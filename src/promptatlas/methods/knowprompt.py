"""KnowPrompt: relations are vectors that start from their names, the two things stand between vectors of their type.

Chen, Zhang, Xie, Deng, Yao, Tan, Huang, Si & Chen 2022, "KnowPrompt: Knowledge-aware Prompt-tuning with Synergistic
Optimization for Relation Extraction", arXiv:2104.07650.

Learns: a row and a bias a label (part `label_vectors`), a vector around each thing (parts `knowprompt_head` and
`knowprompt_tail`), all weights (part `weights`).
Needs: a masked model, labelled examples, a template with one slot that shows the two things as fields. Label words play
no part: what a label is called does.
Relations: `ptr` says a relation in given words; `dart` softens the template's own words too, and knows no two things.
Differs: as the paper, and not the release, a wrong triple has one thing of another place in the text, and distances are
averaged over examples; `schedule` "two_stage" is the paper's, "single" the release's. The vector of a type is on the
input side only, the row of a label on the output side only. No marks in the text itself, no relations that hold at the
same time; a name's words count alike. The model stays in evaluation mode; rates, steps and batch suit small models.

Example:
    >>> import promptatlas
    >>> promptatlas.method("knowprompt", types=("person", "city"), structure=0.01).margin
    0.3
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, Literal, cast

from promptatlas.data.task import Task
from promptatlas.lm.lm import LM
from promptatlas.parts.weights import full
from promptatlas.prompting import Prompt
from promptatlas.score.soft import LabelVectors
from promptatlas.train.loop import Term, tune
from promptatlas.train.loss import Loss, nll
from promptatlas.train.needs import Needs
from promptatlas.train.optim import each
from promptatlas.train.run import Run
from promptatlas.train.soft import between, labelled
from promptatlas.train.structure import Structure


@dataclass(frozen=True, kw_only=True)
class KnowPrompt:
    """Settings of KnowPrompt.

    Attributes:
        names: label -> what it is called; where not told, its own words: "person city of birth" (`per:city_of_birth`).
        types: what the two things may be; their vectors start from the mean of these words.
        head: the field that has the one thing, as in `{head!}`.
        tail: that of the other.
        structure: weight of the structural loss: the one and the relation come to the other.
        margin: its distance.
        negatives: its wrong triples an example.
        schedule: "single": all is trained together; "two_stage": vectors first, then all, without that loss.
        word_steps: of the first stage.
        steps: of training; of the second stage, where there are two.
        batch: examples a step.
        lr: the highest learning rate of the weights, which falls linearly to zero.
        word_lr: of the vectors.
        weight_decay: of all of these, biases and gains excepted.
        warmup: share of the steps in which the rate rises.
        seed: of the batches and the wrong triples.
    """

    names: Mapping[str, str] | None = None
    types: tuple[str, ...] = ("person", "organization", "location", "date", "country")
    head: str = "head"
    tail: str = "tail"
    structure: float = 1e-3
    margin: float = 0.3
    negatives: int = 1
    schedule: Literal["single", "two_stage"] = "single"
    word_steps: int = 100
    steps: int = 200
    batch: int = 8
    lr: float = 1e-3
    word_lr: float = 1e-3
    weight_decay: float = 0.01
    warmup: float = 0.1
    seed: int = 0

    name: ClassVar[str] = "knowprompt"
    needs: ClassVar[Needs] = Needs(
        kinds=("masked",), can=("gradient", "hidden", "weights"), splits=("train",), words=False,
        parts={"weights": ("values",), "label_vectors": ("label_vectors",)},
        instead={"causal": ("pattern_tuning",), "seq2seq": ("pattern_tuning",), "train": ("contextual_calibration",)},
    )  # fmt: skip
    published: ClassVar[Mapping[str, object]] = {"lr": 3e-5, "word_lr": 3e-5, "batch": 64}  # SemEval, in the release

    def fit(self, lm: LM, task: Task, prompt: Prompt, *, run: Run | None = None) -> Prompt:
        """Train vectors, labels and weights; those the prompt has under their names are where training starts."""
        run = run or Run()
        self.needs.check(self.name, lm, task, prompt)
        prompt = labelled(replace(prompt, calibration=()), lm, task.labels, self.names or {})
        things = {f"{self.name}_head": self.head, f"{self.name}_tail": self.tail}
        for part, field in things.items():
            prompt = between(prompt, lm, field, part, self.types)
        prompt = prompt if "weights" in prompt.parts else prompt.plus(weights=full(lm))
        rates = dict.fromkeys((cast(LabelVectors, prompt.words).part, *things), self.word_lr)
        loss: Loss = Structure(self.structure, self.margin, self.negatives, self.head, self.tail)
        if self.schedule == "two_stage":
            first = self._tuned(prompt, lm, Term(task.train, loss, batch=self.batch), rates, self.word_steps)
            prompt, loss = run.stage("words", partial(first, run=run)), nll
        term = Term(task.train, loss, batch=self.batch)
        tuned = self._tuned(prompt, lm, term, {**rates, "weights": self.lr}, self.steps)(run=run)
        return tuned.noted(lm, self, task.identity(), **run.figures)

    def _tuned(
        self, prompt: Prompt, lm: LM, term: Term, rates: Mapping[str, float], steps: int
    ) -> Callable[..., Prompt]:
        optim = each(rates, weight_decay=self.weight_decay, schedule="linear", warmup=self.warmup)
        return partial(tune, prompt, lm, [term], optim=optim, steps=steps, seed=self.seed, flat=None)
