"""The loss of answers that are numbers."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from promptatlas.data.example import Example
from promptatlas.data.interval import Interval, check_poles
from promptatlas.lm.lm import LM
from promptatlas.prompting import Prompt


def divergence(prompt: Prompt, lm: LM, examples: Sequence[Example], view: Interval) -> Float[Tensor, " examples"]:
    """How far the probabilities of the two ends are from where each example's number is between them, in nats.

    KL((1 - t, t) || (p(low), p(high))), t = (y - low) / (high - low): Gao, Fisch & Chen 2021, arXiv:2012.15723, sec.
    4.2. differs: the released code gives probabilities to a loss that takes their logs, which has its least value at
    p(high) = sigmoid(2t - 1), so that no number near an end is ever answered.

    Raises:
        DataError: a target that is no number of the interval.
        SettingError: words for labels other than `low` and `high`.
    """
    labels = prompt.words.labels
    check_poles(labels)
    places = torch.tensor([view.place(one) for one in examples], dtype=torch.float64)
    wanted = torch.stack([places if label == "high" else 1 - places for label in labels], 1)
    scores = prompt.score(lm, examples)
    wanted = wanted.to(scores)
    return (torch.xlogy(wanted, wanted) - wanted * scores).sum(-1)
