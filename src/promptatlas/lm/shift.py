"""Positions under a prefix: text keeps its own, or is moved to stand behind the prefix, as a cache of keys would do."""

from collections.abc import Mapping
from inspect import signature
from typing import TYPE_CHECKING, Any

from promptatlas.errors import CannotAttach
from promptatlas.lm.lm import LM
from promptatlas.lm.site import Part

if TYPE_CHECKING:
    from promptatlas.lm.local import LocalLM


def shift(parts: Mapping[str, Part]) -> int:
    """Positions that text is moved by, to stand behind the prefix among some parts; most prefixes move nothing."""
    return max((int(getattr(part, "shift", 0)) for part in parts.values() if part.site == "attention"), default=0)


def check_shift(lm: "LocalLM", parts: Mapping[str, Part]) -> None:
    """Refuse a prefix that moves the text in a family whose positions can't be told. Raises CannotAttach."""
    if not shift(parts):
        return
    # a decoder's positions go by a bias of distances, or by a table that nobody outside reaches
    told = lm.biased if lm.kind == "seq2seq" else "position_ids" in signature(lm.body.forward).parameters
    if not told:
        raise CannotAttach(
            f"`{lm.name}` counts its positions itself, and this prefix moves the text behind it",
            hint='learn a prefix that leaves positions as they are: positions="unshifted"',
        )


def takes_cache(lm: LM) -> bool:
    """Whether a model can be given a cache of keys and values, which is how other tools give it a prefix."""
    model: Any = getattr(lm, "model", None)
    if model is None:
        return False
    body = model.get_decoder() if lm.kind != "masked" else model.base_model
    return "past_key_values" in signature(body.forward).parameters
