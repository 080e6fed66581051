"""The loss of rules over several slots: each slot's word among its candidates, and the label they come to together.

Han et al. 2021, arXiv:2105.11259, sec. 3.4.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from promptatlas.data.example import Example
from promptatlas.errors import SettingError
from promptatlas.lm.lm import LM
from promptatlas.prompting import Prompt
from promptatlas.score.slots import SlotWords
from promptatlas.train.loss import Batch, right


@dataclass(frozen=True)
class Slotwise:
    """The mean over slots of the cross entropy of the right word, and the cross entropy of the label.

    Attributes:
        weight: of the slots' mean.
    """

    weight: float = 1.0

    def __call__(self, prompt: Prompt, lm: LM, batch: Batch) -> Float[Tensor, " examples"]:
        """A number an example.

        Raises:
            DataError: an example whose target is no label.
            SettingError: a prompt whose words don't stand at slots.
        """
        words, slots = at_slots(prompt, lm, batch.examples)
        labels = words.whole(slots, lm, prompt.template)
        places = words.places(lm, prompt.template)
        return slotwise(slots, labels, places, right(prompt, batch.examples), self.weight)

    def key(self) -> str:
        """The same for equal weights."""
        return f"slotwise {self.weight}"


def slotwise(
    slots: Sequence[Float[Tensor, "examples _"]],
    labels: Float[Tensor, "examples labels"],
    places: Int[Tensor, "labels slots"],
    targets: Sequence[int],
    weight: float = 1.0,
) -> Float[Tensor, " examples"]:
    """The loss out of scores.

    Args:
        slots: scores of each slot's candidates; softmax makes probabilities of them.
        labels: the sum of them for each label.
        places: where each label's word stands among a slot's candidates.
        targets: the right label of each example.
        weight: of the slots' mean.
    """
    told = torch.tensor(targets, device=labels.device)
    wanted = places.to(labels.device)[told]  # [examples, slots]
    each = [-one.log_softmax(-1).gather(1, wanted[:, at, None])[:, 0] for at, one in enumerate(slots)]
    whole = -labels.log_softmax(-1).gather(1, told[:, None])[:, 0]
    return weight * torch.stack(each).mean(0) + whole


def at_slots(
    prompt: Prompt, lm: LM, examples: Sequence[Example]
) -> tuple[SlotWords, list[Float[Tensor, "examples _"]]]:
    """The prompt's words, and the log-probability of each slot's candidates among each other.

    Raises:
        SettingError: a prompt whose words don't stand at slots.
    """
    words = prompt.words
    if not isinstance(words, SlotWords):
        raise SettingError("this prompt's words don't stand at slots", hint="make it with SlotWords")
    lines, _ = prompt.lines(lm, examples)
    jobs = [job for one in prompt.reader(lm).wanted(lines, mass=False) for job in one.jobs]
    return words, words.at_slots([[reading] for reading in lm.read(jobs)], lm, prompt.template)
