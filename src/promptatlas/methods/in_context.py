"""In-context learning: demonstrations in front of the input, no weight is changed.

Brown et al. 2020, "Language Models are Few-Shot Learners", arXiv:2005.14165.

Learns: nothing; shows `k` training examples with their label words.
Needs: labelled examples; any kind of model, though causal ones with a long window gain most.
Relations: `kate` picks demonstrations near each input; `contextual_calibration` removes the bias the choice brings.
Differs: by default one balanced draw is shown to all inputs, so that it can be calibrated and its beginning shared;
`paper=True` draws anew for every input, unbalanced (sec. 2.4).

Example:
    >>> import promptatlas
    >>> promptatlas.method("in_context", k=4, seed=1).k
    4
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from promptatlas.data.task import Task
from promptatlas.demos.pick import Random
from promptatlas.errors import SettingError
from promptatlas.lm.lm import LM
from promptatlas.prompting import Prompt
from promptatlas.text.pieces import TextPiece
from promptatlas.text.template import Template
from promptatlas.train.needs import Needs
from promptatlas.train.run import Run


@dataclass(frozen=True, kw_only=True)
class InContext:
    r"""Settings of in-context learning.

    Attributes:
        k: demonstrations; the oldest are left out where the window is short.
        balanced: as many of each label as can be.
        each: drawn anew for every input.
        between: text between two demonstrations ("\n\n" or "\n" in the paper, by task); None: the prompt's own.
        seed: of the draw.
    """

    k: int = 4
    balanced: bool = True
    each: bool = False
    between: str | None = None
    seed: int = 0

    name: ClassVar[str] = "in_context"
    needs: ClassVar[Needs] = Needs(
        splits=("train",), tasks=("label", "choice"), instead={"train": ("contextual_calibration",)}
    )
    published: ClassVar[Mapping[str, object]] = {
        "k": 32,
        "balanced": False,
        "each": True,
    }  # sec. 2.4: 10 to 100, drawn for each

    def fit(self, lm: LM, task: Task, prompt: Prompt, *, run: Run | None = None) -> Prompt:
        """Put the demonstrations into the prompt; a calibration it had was another prompt's, and is dropped."""
        self.needs.check(self.name, lm, task, prompt)
        if self.k > len(task.train):
            raise SettingError(
                f"{self.k} demonstrations of {len(task.train)} training examples",
                hint=f"use k={len(task.train)} at most",
            )
        demos = Random(pool=task.train, k=self.k, seed=self.seed, balanced=self.balanced, each=self.each)
        between = prompt.between if self.between is None else Template((TextPiece(self.between),))
        return replace(prompt, demos=demos, between=between, calibration=()).noted(lm, self, task.identity())
