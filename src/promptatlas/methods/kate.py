"""KATE: the training examples nearest to the input are its demonstrations.

Liu, Shen, Zhang, Dolan, Carin & Chen 2021, "What Makes Good In-Context Examples for GPT-3?", arXiv:2101.06804.

Learns: an index of the training inputs' vectors, kept in the prompt; under "bm25" none.
Needs: labelled examples; a model whose states can be read, unless another embeds or words are counted.
Relations: `in_context` shows the same demonstrations to every input; `max_marginal_relevance` keeps them from saying
the same. `contextual_calibration(each=True)` reads a prior under each input's own: where neighbours share a label, it
divides out what they say, and `balanced` ones are better calibrated than others.
Differs: the vectors are mean last states of the model itself, or of a language model that `encoder` names; the paper
compares encoders of sentences, tuned for that. BM25 isn't in the paper.

Example:
    >>> import promptatlas
    >>> promptatlas.method("kate", k=2, order="nearest_last").metric
    'cosine'
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from promptatlas.data.task import Task
from promptatlas.demos.nearest import Nearest
from promptatlas.lm.lm import LM
from promptatlas.prompting import Prompt
from promptatlas.prompting.shown import counted
from promptatlas.train.needs import Needs
from promptatlas.train.run import Run


@dataclass(frozen=True, kw_only=True)
class KATE:
    """Settings of KATE.

    Attributes:
        k: demonstrations an input.
        metric: "cosine" or "euclidean" of vectors, or "bm25": by the words that texts share, characters in Chinese.
        order: "nearest_first", as in the official code, or "nearest_last", next to the input.
        encoder: a language model that embeds, by name or folder; "": the model itself. The prompt needs it there again.
        balanced: the nearest of each label in turns, as many of each as can be.
    """

    k: int = 3
    metric: Literal["cosine", "euclidean", "bm25"] = "cosine"
    order: Literal["nearest_first", "nearest_last"] = "nearest_first"
    encoder: str = ""
    balanced: bool = False

    name: ClassVar[str] = "kate"
    needs: ClassVar[Needs] = Needs(
        can=("hidden",), splits=("train",), instead={"train": ("contextual_calibration",), "hidden": ("in_context",)}
    )
    published: ClassVar[Mapping[str, object]] = {}

    def fit(self, lm: LM, task: Task, prompt: Prompt, *, run: Run | None = None) -> Prompt:
        """Embed the training inputs (the template's fields, never the label) and put the index into the prompt."""
        own = not self.encoder and self.metric != "bm25"
        replace(self.needs, can=self.needs.can if own else ()).check(self.name, lm, task, prompt)
        demos = Nearest.over(
            lm,
            task.train,
            k=self.k,
            metric=self.metric,
            order=self.order,
            fields=[field for field in prompt.template.fields if field in task.fields],
            by=self.encoder,
            balanced=self.balanced,
        )
        made = replace(prompt, demos=demos, calibration=())
        return made.noted(lm, self, task.identity(), **counted(made, lm, task, self.name))
