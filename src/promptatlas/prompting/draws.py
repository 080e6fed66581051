"""Rows of prompts, read once for every draw of their demonstrations, and the draws averaged."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from promptatlas.data.example import Example
from promptatlas.data.interval import Interval
from promptatlas.demos.sampled import Sampled
from promptatlas.errors import DataError
from promptatlas.lm.lm import LM
from promptatlas.prompting.rows import Line, together

if TYPE_CHECKING:
    from promptatlas.prompting.prompt import Prompt


@dataclass(frozen=True, eq=False)
class Draw:
    """What was read of a prompt's rows under one draw of its demonstrations.

    Attributes:
        prompt: with that draw alone.
        lines: its rows.
        mass: log mass of their labels.
    """

    prompt: "Prompt"
    lines: list[Line]
    mass: Float[Tensor, "rows labels"]

    def settled(self, lm: LM) -> Float[Tensor, "rows labels"]:
        """Calibrated, and brought to sum to one; one label alone is no distribution, and its mass is the score."""
        prompt, scores = self.prompt, self.mass
        for calibration in prompt.calibration:
            scores = calibration.apply(scores, prompt.reader(lm).nulls(calibration, self.lines))
        return scores.log_softmax(-1) if len(prompt.words.labels) > 1 else scores


@dataclass(frozen=True, eq=False)
class Rows:
    """What was read of one prompt's rows.

    Attributes:
        lm: the model.
        draws: once for each draw; one, where demonstrations aren't averaged over.
        owners: of each example, where its rows begin and end.
    """

    lm: LM
    draws: Sequence[Draw]
    owners: list[tuple[int, int]]

    @property
    def lines(self) -> list[Line]:
        """Those of the first draw."""
        return self.draws[0].lines

    @property
    def mass(self) -> Float[Tensor, "rows labels"]:
        """Log mass before calibration; of several draws, the log of their mean probability."""
        return _mixed([one.mass for one in self.draws])

    def settled(self) -> Float[Tensor, "rows labels"]:
        """Scores after it; of several draws, their mean, brought to sum to one.

        That is the mean of the logits, up to what is the same for all labels (Gao et al. 2021, released code); where
        answers are numbers it is the numbers that are averaged, and so probabilities.
        """
        scores = [one.settled(self.lm) for one in self.draws]
        if isinstance(self.draws[0].prompt.view, Interval):
            return _mixed(scores)
        return scores[0] if len(scores) == 1 else torch.stack(scores).mean(0).log_softmax(-1)

    def scores(self) -> Float[Tensor, "examples answers"]:
        """Log-probabilities of the answers. Raises DataError where examples have different numbers of choices."""
        prompt, scores = self.draws[0].prompt, self.settled()
        merged = [prompt.view.logits(scores[start:end], prompt.words.labels) for start, end in self.owners]
        if len({one.shape[0] for one in merged}) > 1:
            raise DataError("these examples have different numbers of choices", hint="score them apart, or use predict")
        return torch.stack(merged).log_softmax(-1) if merged else scores


def read(lm: LM, prompts: "Sequence[Prompt]", examples: Sequence[Example], *, whole: bool = False) -> list[Rows]:
    """The rows of several prompts, all draws, in one call.

    Args:
        lm: the model.
        prompts: whose rows.
        examples: the queries.
        whole: mass under the whole vocabulary, also where nobody looks at more than the labels' shares of it.
    """
    for one in prompts:
        one.check(lm)
    drawn = [(at, draw) for at, one in enumerate(prompts) for draw in _each(one)]
    asked = [(at, one, *one.lines(lm, examples)) for at, one in drawn]
    found: dict[int, Tensor] = {}
    for mass in (False, True):
        some = [n for n, (_, one, _, _) in enumerate(asked) if (whole or _whole(one)) is mass]
        if some:
            masses = together([(asked[n][1].reader(lm), asked[n][2]) for n in some], mass=mass)
            found |= zip(some, masses, strict=True)
    rows = []
    for at in range(len(prompts)):
        mine = [n for n, (which, *_) in enumerate(asked) if which == at]
        rows.append(Rows(lm, [Draw(asked[n][1], asked[n][2], found[n]) for n in mine], asked[mine[0]][3]))
    return rows


def _each(prompt: "Prompt") -> "Sequence[Prompt]":
    """The prompt once for every draw of its demonstrations that is averaged over; else itself."""
    demos = prompt.demos
    if isinstance(demos, Sampled) and demos.draws > 1:
        return [replace(prompt, demos=demos.again(demos.first + draw)) for draw in range(demos.draws)]
    return [prompt]


def _mixed(masses: Sequence[Float[Tensor, "rows labels"]]) -> Float[Tensor, "rows labels"]:
    return masses[0] if len(masses) == 1 else torch.stack(list(masses)).logsumexp(0) - math.log(len(masses))


def _whole(prompt: "Prompt") -> bool:
    return bool(prompt.calibration) or len(prompt.words.labels) == 1
