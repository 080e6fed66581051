"""How likely a prompt finds an example's own fields, its answer unknown."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from promptatlas.data.example import Example
from promptatlas.errors import NeedsError
from promptatlas.lm.ask import Job, Places
from promptatlas.lm.lm import LM
from promptatlas.lm.row import Row
from promptatlas.prompting.prompt import Prompt


def likelihood(prompt: Prompt, lm: LM, examples: Sequence[Example]) -> Float[Tensor, " examples"]:
    """The summed log-probability of the tokens of each example's fields, all of them masked at once, and the slot too.

    Qin & Eisner 2021, arXiv:2104.06599: the prompt's probability of what is given, with the answer masked. differs: for
    each example, where the released code takes it of the whole set.

    Raises:
        NeedsError: the model has no mask.
    """
    if lm.kind != "masked" or lm.mask is None:
        raise NeedsError(f"`{lm.name}` has no mask to hide an example's fields behind", hint="set heed=None")
    lines, owners = prompt.lines(lm, examples)
    rows = prompt.reader(lm).encode([lines[first] for first, _ in owners])
    hidden = [_hidden(row, lm.mask) for row in rows]
    found = lm.read([Job(row, (asked,), prompt.parts) for row, asked in hidden])
    sums = [reading[0].values.sum() for reading in found]
    return torch.stack(sums) if sums else torch.zeros(0)


def _hidden(row: Row, mask: int) -> tuple[Row, Places]:
    """The row with its fields masked (demonstrations stay), and the question what they were."""
    own = [span for span in row.spans if span.kind == "field" and span.demo is None]
    at = tuple(place for span in own for place in range(span.start, span.end))
    ids = tuple(mask if place in set(at) else token for place, token in enumerate(row.ids))
    return replace(row, ids=ids), Places(at, tuple(row.ids[place] for place in at))
