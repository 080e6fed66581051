"""Contextual calibration: divide by what the model says of an input without content.

Zhao, Wallace, Feng, Klein & Singh 2021, "Calibrate Before Use: Improving Few-Shot Performance of Language Models",
arXiv:2102.09690.

Learns: the bias of the whole prompt (template, demonstrations, label words, model), kept in the prompt's calibration.
Needs: nothing but the model; any kind.
Relations: comes after `in_context`, or after any method that leaves the model frozen; dividing by a domain's premise
instead of an empty one is PMI (`score.calibrate.PMI`).
Differs: also for masked and seq2seq models, by the same formula; what comes out is brought to sum to one. A label of
several words is their summed probability from here on, as in the paper. Of texts the first token is calibrated, by the
least probability over blanks, subtracted; all tokens have a prior, not those of a test set alone. One prior holds for
all inputs, also for a long one that pushes demonstrations out of the window.

Example:
    >>> import promptatlas
    >>> promptatlas.method("contextual_calibration", blanks=("N/A", "")).mode
    'diag'
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch

from promptatlas.data.example import Example
from promptatlas.data.task import Task
from promptatlas.errors import NeedsError
from promptatlas.lm.lm import LM
from promptatlas.prompting import Prompt
from promptatlas.prompting.writing import begins
from promptatlas.score.calibrate import Divide
from promptatlas.score.chains import Chains
from promptatlas.score.opening import Opening
from promptatlas.score.words import Words
from promptatlas.search.prior import figures
from promptatlas.train.needs import Needs
from promptatlas.train.run import Run


@dataclass(frozen=True, kw_only=True)
class ContextualCalibration:
    """Settings of contextual calibration.

    Attributes:
        blanks: the content-free inputs, whose label masses are averaged before they are normalised (sec. 5).
        mode: "diag" divides (classification), "identity" subtracts (huge answer sets).
        reduce: "mean" over the blanks, or "min", which the official code takes for open answers.
        each: calibrate anew under each input's own demonstrations, where these depend on the input. Of neighbours that
            share a label it divides out that label too.
    """

    blanks: tuple[str, ...] = ("N/A", "", "[MASK]")
    mode: Literal["diag", "identity"] = "diag"
    reduce: Literal["mean", "min"] = "mean"
    each: bool = False

    name: ClassVar[str] = "contextual_calibration"
    needs: ClassVar[Needs] = Needs(can=("logits",), tasks=("label", "text"))
    published: ClassVar[Mapping[str, object]] = {}

    def fit(self, lm: LM, task: Task, prompt: Prompt, *, run: Run | None = None) -> Prompt:
        """Read the label masses of content-free inputs under the prompt as it is; a calibration it had is replaced."""
        needs = replace(self.needs, can=("logits", "vocabulary")) if prompt.writes else self.needs
        needs.check(self.name, lm, task, prompt)
        prompt = replace(prompt, calibration=())
        if prompt.writes:
            return self._opening(lm, task, prompt)
        if isinstance(prompt.words, Words):
            prompt = replace(prompt, words=replace(prompt.words, over_words="sum_prob"))
        divide = Divide(labels=prompt.labels, blanks=self.blanks, mode=self.mode, reduce=self.reduce)
        if not prompt.demos.fixed:
            if not self.each:
                raise NeedsError(
                    f"`{self.name}` needs the same demonstrations for all inputs, and this prompt's depend on it",
                    hint="calibrate under each input's own with each=True (a row a blank more each), or use fixed ones",
                )
            return replace(prompt, calibration=(divide,)).noted(lm, self, task.identity())
        with torch.no_grad():
            divide = divide.fitted(prompt.mass(lm, self._nulls(prompt)))
        return replace(prompt, calibration=(divide,)).noted(lm, self, task.identity(), **figures(divide))

    def _nulls(self, prompt: Prompt) -> list[Example]:
        return [Example(dict.fromkeys(prompt.template.fields, blank)) for blank in self.blanks]

    def _opening(self, lm: LM, task: Task, prompt: Prompt) -> Prompt:
        """Texts: what they begin with is calibrated (sec. 5, open-ended generation)."""
        if not prompt.demos.fixed or isinstance(prompt.view, Chains):
            told = (
                "its demonstrations depend on the input" if not prompt.demos.fixed else "it reasons before it answers"
            )
            raise NeedsError(f"`{self.name}` calibrates what a text begins with, and of this prompt {told}",
                             hint="use fixed demonstrations, and no reasoning")  # fmt: skip
        rows = prompt.reader(lm).encode(prompt.lines(lm, self._nulls(prompt))[0], room=1)
        opening = Opening.fitted(begins(prompt, lm, rows))
        likeliest, share = lm.text([int(opening.ids[opening.prior.argmax()])]), float(opening.prior.max())
        made = replace(prompt, calibration=(opening,))
        return made.noted(lm, self, task.identity(), likeliest=likeliest, prior=round(share, 4))
