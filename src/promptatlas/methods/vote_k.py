"""Fast vote-k: which few examples are worth a label, and then the nearest of them as demonstrations.

Su, Kasai, Wu, Shi, Wang, Xin, Zhang, Ostendorf, Zettlemoyer, Smith & Yu 2023, "Selective Annotation Makes Language
Models Better Few-Shot Learners", arXiv:2209.01975.

Learns: an index of the `labels` chosen training inputs, kept in the prompt with them alone.
Needs: labelled examples; a model whose states can be read, or another that embeds.
Relations: `kate` looks for neighbours among all training examples, and so needs a label for each; it says what
calibration does to neighbours.
Differs: fast vote-k alone, without the rounds that ask the model how sure it is (sec. 2.1); vectors are mean last
states, the paper's are Sentence-BERT's. The examples' labels play no part in the choice, and those of the others are
never looked at; the history says which were chosen, by their numbers among the training examples.

Example:
    >>> import promptatlas
    >>> promptatlas.method("vote_k", labels=8, k=2).near
    150
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from promptatlas.data.task import Task
from promptatlas.demos.nearest import Nearest
from promptatlas.demos.pick import Fixed
from promptatlas.demos.votes import vote_k
from promptatlas.lm.lm import LM
from promptatlas.prompting import Prompt
from promptatlas.prompting.shown import counted
from promptatlas.train.needs import Needs
from promptatlas.train.run import Run


@dataclass(frozen=True, kw_only=True)
class VoteK:
    """Settings of vote-k.

    Attributes:
        labels: examples that are chosen, to be labelled; all where there are fewer. The paper has 18 and 100.
        k: demonstrations an input.
        shown: "nearest" of the chosen to each input, or "first": the first chosen, the same to all.
        order: of the nearest: "nearest_last", next to the input, as in the released code, or "nearest_first".
        near: neighbours each example votes for (sec. 2.1); all others where there are fewer.
        rho: a vote weighs rho times less for each chosen example its voter is near to (sec. 2.1).
        encoder: a language model that embeds, by name or folder; "": the model itself. The prompt needs it there again.
    """

    labels: int = 18
    k: int = 4
    shown: Literal["nearest", "first"] = "nearest"
    order: Literal["nearest_first", "nearest_last"] = "nearest_last"
    near: int = 150
    rho: float = 10.0
    encoder: str = ""

    name: ClassVar[str] = "vote_k"
    needs: ClassVar[Needs] = Needs(
        can=("hidden",), splits=("train",), instead={"train": ("contextual_calibration",), "hidden": ("in_context",)}
    )
    published: ClassVar[Mapping[str, object]] = {}

    def fit(self, lm: LM, task: Task, prompt: Prompt, *, run: Run | None = None) -> Prompt:
        """Choose, and put the chosen into the prompt; a calibration it had was another prompt's."""
        replace(self.needs, can=() if self.encoder else self.needs.can).check(self.name, lm, task, prompt)
        fields = [field for field in prompt.template.fields if field in task.fields]
        index = Nearest.over(lm, task.train, k=0, order=self.order, fields=fields, by=self.encoder)
        chosen = vote_k(index.vectors, min(self.labels, len(task.train)), near=self.near, rho=self.rho)
        nearest = index.only(chosen, self.k)
        demos = nearest if self.shown == "nearest" else Fixed(nearest.pool[: self.k])
        made = replace(prompt, demos=demos, calibration=())
        figures = {"chosen": " ".join(str(at + 1) for at in chosen), **counted(made, lm, task, self.name)}
        return made.noted(lm, self, task.identity(), **figures)
