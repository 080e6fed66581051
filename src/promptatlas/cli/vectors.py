"""What a soft prompt has become: the words its vectors are near to, how large they are, how far they have come.

Imports torch.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from promptatlas import registry
from promptatlas.errors import PromptAtlasError
from promptatlas.lm.lm import LM
from promptatlas.parts.vectors import digest
from promptatlas.prompting import Prompt

NEAREST = 3  # words named for each vector
KINDS = {"inputs": "vectors", "attention": "keys and values"}


def explained(prompt: Prompt, name: str, lm: LM) -> dict[str, Any]:
    """Of an input part: nearest words a position; of vectors also cosines, norms, and distances from the start."""
    part: Any = prompt.parts[name]
    if part.ids is not None:
        return {"nearest": [[piece] for piece in lm.pieces(part.ids)]}
    vectors = made(part, lm)
    if vectors.dim() != 2 or not len(vectors):
        return {}  # made from each row: there are none to speak of on their own
    near, cosines = nearest(lm, vectors)
    about: dict[str, Any] = {"nearest": near, "cosines": cosines, "norms": rounded(vectors.norm(dim=-1))}
    about["vocabulary_norm"] = round(float(lm.vectors.float().norm(dim=-1).median()), 4)
    start, why = begun(prompt, name, lm)
    if start is None:
        return about | {"moved": None, "why": why}
    return about | {"moved": rounded((vectors - start).norm(dim=-1))}


def made(part: Any, lm: LM) -> Tensor:
    """The vectors of a part, [length, width]."""
    with torch.no_grad():
        found: Tensor = part.vectors(lm, []).detach().float().cpu()
    return found


def nearest(lm: LM, vectors: Tensor) -> tuple[list[list[str]], list[list[float]]]:
    """Of each vector the words nearest by cosine, and the cosines."""
    table = normalize(lm.vectors.float().cpu(), dim=-1)
    best = (normalize(vectors, dim=-1) @ table.T).topk(NEAREST)  # [length, nearest]
    return [lm.pieces(ids) for ids in best.indices.tolist()], [rounded(one) for one in best.values]


def begun(prompt: Prompt, name: str, lm: LM) -> tuple[Tensor | None, str]:
    """The vectors that training started from, made again; or why that can't be done."""
    found, why = first(prompt, name, lm)
    return (None, why) if found is None else (made(found, lm), "")


def first(prompt: Prompt, name: str, lm: LM) -> tuple[Any, str]:
    """The part that training started from, made again; or None, and why that can't be done.

    It is only taken for the start where its hash is the one that was noted when training began.
    """
    part: Any = prompt.parts[name]
    for step in prompt.history:
        if "start" not in step.figures:
            continue
        try:
            beginning: Any = getattr(registry.method(step.method, **step.settings), "beginning", None)
            if beginning is None:
                return None, f"`{step.method}` doesn't say how to make its start again"
            found = beginning(lm, prompt)
        except (PromptAtlasError, TypeError) as error:
            return None, f"its start can't be made again: {error}".splitlines()[0]
        if found.site != part.site:
            continue  # another part's
        if digest(found) != step.figures["start"] or found.length != getattr(part, "length", None):
            made_of = f"`{step.method}` makes of its settings"
            return None, f"it started from other {KINDS[part.site]} than {made_of}, and those weren't kept"
        return found, ""
    return None, "its history doesn't say what it started from; fit it again, and it will"


def rounded(values: Tensor) -> list[float]:
    """To four places, as they are shown."""
    return [round(float(one), 4) for one in values]
