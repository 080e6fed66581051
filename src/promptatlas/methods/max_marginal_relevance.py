"""Maximal marginal relevance: demonstrations near to the input, and far from each other.

Carbonell & Goldstein 1998, "The Use of MMR, Diversity-Based Reranking for Reordering Documents and Producing
Summaries"; for demonstrations Ye, Iyer, Celikyilmaz, Stoyanov, Durrett & Pasunuru 2023, "Complementary Explanations for
Effective In-Context Learning", arXiv:2211.13892.

Learns: an index of the training inputs' vectors, kept in the prompt.
Needs: labelled examples; a model whose states can be read, or another that embeds.
Relations: `kate` is the case `relevance=1`, and says what calibration does to neighbours.
Differs: nearness is the cosine of mean last states, where the two papers compare words and BERTScores; no explanations
are shown.

Example:
    >>> import promptatlas
    >>> promptatlas.method("max_marginal_relevance", relevance=0.7).order
    'nearest_first'
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from promptatlas.data.task import Task
from promptatlas.demos.diverse import Diverse
from promptatlas.demos.nearest import Nearest
from promptatlas.lm.lm import LM
from promptatlas.prompting import Prompt
from promptatlas.prompting.shown import counted
from promptatlas.train.needs import Needs
from promptatlas.train.run import Run


@dataclass(frozen=True, kw_only=True)
class MaxMarginalRelevance:
    """Settings of maximal marginal relevance.

    Attributes:
        k: demonstrations an input.
        relevance: λ: how much nearness to the input counts against likeness to what was chosen; 1 is nearness alone.
        order: "nearest_first" shows them as they were chosen, the nearest to the input first; "nearest_last" turns
            that round.
        encoder: a language model that embeds, by name or folder; "": the model itself. The prompt needs it there again.
    """

    k: int = 3
    relevance: float = 0.5
    order: Literal["nearest_first", "nearest_last"] = "nearest_first"
    encoder: str = ""

    name: ClassVar[str] = "max_marginal_relevance"
    needs: ClassVar[Needs] = Needs(
        can=("hidden",), splits=("train",), instead={"train": ("contextual_calibration",), "hidden": ("in_context",)}
    )
    published: ClassVar[Mapping[str, object]] = {}

    def fit(self, lm: LM, task: Task, prompt: Prompt, *, run: Run | None = None) -> Prompt:
        """Embed the training inputs and put the index into the prompt; its calibration was another prompt's."""
        replace(self.needs, can=() if self.encoder else self.needs.can).check(self.name, lm, task, prompt)
        fields = [field for field in prompt.template.fields if field in task.fields]
        index = Nearest.over(lm, task.train, k=len(task.train), order=self.order, fields=fields, by=self.encoder)
        demos = Diverse(index=index, k=self.k, relevance=self.relevance)
        made = replace(prompt, demos=demos, calibration=())
        return made.noted(lm, self, task.identity(), **counted(made, lm, task, self.name))
