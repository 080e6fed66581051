r"""In-context learning: demonstrations in front of the input, no weight is changed.

Brown et al. 2020, "Language Models are Few-Shot Learners", arXiv:2005.14165.

Learns: nothing; shows `k` training examples with their label words.
Needs: labelled examples; any kind of model, though causal ones with a long window gain most.
Relations: `kate` picks demonstrations near each input, `max_marginal_relevance` near ones that differ, `vote_k` those
worth a label; `contextual_calibration` removes the bias the choice brings, and replaces `over_tokens="unconditional"`.
Differs: by default one balanced draw is shown to all inputs, so that it can be calibrated and its beginning shared;
`paper=True` draws anew for every input, unbalanced (sec. 2.4). "unconditional" is the paper's for three data sets.

Example:
    >>> import promptatlas
    >>> promptatlas.method("in_context", k=4, seed=1).k
    4
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from promptatlas.data.task import Task
from promptatlas.demos.pick import Random
from promptatlas.errors import SettingError
from promptatlas.lm.lm import LM
from promptatlas.prompting import Prompt
from promptatlas.prompting.shown import counted, looked, most
from promptatlas.score.calibrate import PMI
from promptatlas.score.domain import domain, folded, summed
from promptatlas.text.pieces import TextPiece
from promptatlas.text.template import Template
from promptatlas.train.needs import Needs
from promptatlas.train.run import Run


@dataclass(frozen=True, kw_only=True)
class InContext:
    r"""Settings of in-context learning.

    Attributes:
        k: demonstrations; None: as many as the window holds before at least half of the texts that are looked at.
            Before an input that leaves less room the oldest are left out, and the history says how many are shown.
        balanced: as many of each label as can be.
        each: drawn anew for every input.
        between: text between two demonstrations ("\n\n" or "\n" in the paper, by task); None: the prompt's own.
        over_tokens: an answer's score: the "sum" of its tokens' log-probabilities, their "mean" (the paper's for
            multiple choice), or "unconditional", the sum less what it is where nothing is asked (ARC, OpenBookQA, RACE;
            sec. 2.4); None: as the prompt has it.
        domain: where nothing is asked, as `Answer:{mask}` in the paper; "": the template behind its last field.
        shuffle: another number shows the same demonstrations in another order.
        seed: of the draw.
    """

    k: int | None = 4
    balanced: bool = True
    each: bool = False
    between: str | None = None
    over_tokens: Literal["sum", "mean", "unconditional"] | None = None
    domain: str = ""
    shuffle: int = 0
    seed: int = 0

    name: ClassVar[str] = "in_context"
    needs: ClassVar[Needs] = Needs(
        splits=("train",), tasks=("label", "choice", "text"), instead={"train": ("contextual_calibration",)}
    )
    published: ClassVar[Mapping[str, object]] = {
        "k": 32,
        "balanced": False,
        "each": True,
        "over_tokens": "mean",
    }  # sec. 2.4: 10 to 100, drawn for each, the likelihood of choices per token

    def fit(self, lm: LM, task: Task, prompt: Prompt, *, run: Run | None = None) -> Prompt:
        """Put the demonstrations into the prompt; a calibration it had was another prompt's, and is dropped."""
        self.needs.check(self.name, lm, task, prompt)
        if (self.k or 0) > len(task.train):
            raise SettingError(
                f"{self.k} demonstrations of {len(task.train)} training examples",
                hint=f"use k={len(task.train)} at most",
            )
        if self.domain and self.over_tokens != "unconditional":
            raise SettingError(f"nothing is divided by `{self.domain}`", hint='set over_tokens="unconditional"')
        between = prompt.between if self.between is None else Template((TextPiece(self.between),))
        scored = self._scored(replace(prompt, between=between, calibration=()))

        def showing(k: int) -> Prompt:
            drawn = Random(
                pool=task.train, k=k, seed=self.seed, balanced=self.balanced, each=self.each, shuffle=self.shuffle
            )
            return replace(scored, demos=drawn)

        made = showing(most(showing, lm, looked(task), len(task.train)) or 1 if self.k is None else self.k)
        return made.noted(lm, self, task.identity(), **counted(made, lm, task, self.name))

    def _scored(self, prompt: Prompt) -> Prompt:
        """The prompt with answers scored as `over_tokens` says."""
        if self.over_tokens is None:
            return prompt
        if self.over_tokens == "unconditional":
            alone = PMI(domain=domain(prompt.template, self.domain))
            return replace(prompt, words=summed(prompt.words), calibration=(alone,))
        return replace(prompt, words=folded(prompt.words, self.over_tokens))
