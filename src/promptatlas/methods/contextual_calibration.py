"""Contextual calibration: divide by what the model says of an input without content.

Zhao, Wallace, Feng, Klein & Singh 2021, "Calibrate Before Use: Improving Few-Shot Performance of Language Models",
arXiv:2102.09690.

Learns: the bias of the whole prompt (template, demonstrations, label words, model), kept in the prompt's calibration.
Needs: nothing but the model; any kind.
Relations: comes after `in_context`, or after any method that leaves the model frozen; dividing by a domain's premise
instead of an empty one is PMI (`score.calibrate.PMI`).
Differs: also for masked and seq2seq models, by the same formula; what comes out is brought to sum to one. A label of
several words is their summed probability from here on, as in the paper. One prior holds for all inputs, also for a long
one that pushes demonstrations out of the window.

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
from promptatlas.score.calibrate import Divide
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
    needs: ClassVar[Needs] = Needs(can=("logits",))
    published: ClassVar[Mapping[str, object]] = {}

    def fit(self, lm: LM, task: Task, prompt: Prompt, *, run: Run | None = None) -> Prompt:
        """Read the label masses of content-free inputs under the prompt as it is; a calibration it had is replaced."""
        self.needs.check(self.name, lm, task, prompt)
        prompt = replace(prompt, calibration=())
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
        nulls = [
            null.example for null in divide.nulls(Example(dict.fromkeys(prompt.template.fields, "")), prompt.template)
        ]
        with torch.no_grad():
            divide = divide.fitted(prompt.mass(lm, nulls))
        return replace(prompt, calibration=(divide,)).noted(lm, self, task.identity(), **figures(divide))
