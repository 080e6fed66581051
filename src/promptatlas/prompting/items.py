"""Scores of a prompt that answers item by item."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from promptatlas.data.example import Example
from promptatlas.lm.lm import LM
from promptatlas.prompting.prompt import Prompt


def items(prompt: Prompt, lm: LM, examples: Sequence[Example]) -> list[Float[Tensor, "items labels"]]:
    """Of each example, the log-probabilities of the labels at each of its items; gradients pass.

    Items that didn't fit the window are left out: they are an example's last.

    Raises:
        ArtifactError: the prompt was learned on another model.
        SettingError: the prompt has no head, or its template shows no items.
    """
    prompt.check(lm)
    lines, _ = prompt.lines(lm, examples)
    reader = prompt.reader(lm)
    scores = reader.fold(lines, mass=True)
    return [scores[start:end] for start, end in reader.items(lines)]
