"""How well prompts do, or one with each of several values of one part."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from promptatlas.data.example import Example
from promptatlas.errors import DataError, SettingError, near
from promptatlas.lm.lm import LM
from promptatlas.lm.site import Part
from promptatlas.prompting import Prompt
from promptatlas.prompting.draws import read

AMONG = ("labels", "vocabulary")  # what a label's probability is a share of


class Measure(NamedTuple):
    """How well a prompt does on some examples: the larger, the better, and accuracy counts first.

    Attributes:
        accuracy: share of the examples whose label has the most mass.
        likelihood: mean log-probability of the right label.
    """

    accuracy: float
    likelihood: float

    def by(self, metric: str) -> float:
        """One of the two."""
        if metric not in self._fields:
            raise SettingError(f"`metric` can't be `{metric}`", hint=near(metric, self._fields))
        return float(getattr(self, metric))


def measured(
    prompt: Prompt, lm: LM, part: str, values: Sequence[Part], examples: Sequence[Example], among: str = "labels"
) -> list[Measure]:
    """How well the prompt does with each of these values as the part; without gradients."""
    with torch.no_grad():
        logp = torch.stack([shares(prompt.plus(**{part: one}), lm, examples, among) for one in values])
    return _measures(logp, prompt.labels, examples)


def compared(prompts: Sequence[Prompt], lm: LM, examples: Sequence[Example], among: str = "labels") -> list[Measure]:
    """How well each of these prompts for the same labels does, the rows of all read in one call; without gradients."""
    with torch.no_grad():
        found = read(lm, prompts, examples, whole=_whole(among))
        logp = torch.stack([one.mass if _whole(among) else one.scores() for one in found])
    return _measures(logp, prompts[0].labels, examples)


def _measures(
    logp: Float[Tensor, "values examples labels"], labels: Sequence[str], examples: Sequence[Example]
) -> list[Measure]:
    right = torch.tensor(targets(labels, examples), device=logp.device)
    accuracy = (logp.argmax(-1) == right).double().mean(1)
    likelihood = logp.double().gather(2, right.expand(len(logp), -1)[..., None]).mean((1, 2))
    return [Measure(*one) for one in zip(accuracy.tolist(), likelihood.tolist(), strict=True)]


def nll(prompt: Prompt, lm: LM, examples: Sequence[Example], among: str = "labels") -> Float[Tensor, " examples"]:
    """Minus the log-probability of each example's label."""
    right = torch.tensor(targets(prompt.labels, examples))
    logp = shares(prompt, lm, examples, among)
    return -logp.gather(1, right[:, None].to(logp.device))[:, 0]


def shares(prompt: Prompt, lm: LM, examples: Sequence[Example], among: str) -> Float[Tensor, "examples labels"]:
    """Log-probabilities of the labels among each other, or each label's words among all the vocabulary."""
    return prompt.mass(lm, examples) if _whole(among) else prompt.score(lm, examples)


def _whole(among: str) -> bool:
    if among not in AMONG:
        raise SettingError(f"`among` can't be `{among}`", hint=near(among, AMONG))
    return among == "vocabulary"


def targets(labels: Sequence[str], examples: Sequence[Example]) -> list[int]:
    """Where among the labels each example's target is. Raises DataError for a target that is none of them."""
    for one in examples:
        if one.target not in labels:
            name = f" `{one.key}`" if one.key else ""
            hint = "there are " + ", ".join(f"`{label}`" for label in labels)
            raise DataError(f"example{name} has the target {one.target!r}, which is no label", hint=hint)
    return [labels.index(str(one.target)) for one in examples]
