"""What differs by model family, a row each with its reason. Nothing above `lm/` branches on a family."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Family:
    """Exceptions of one model type.

    Attributes:
        reserved: positions at the start of the position table that no token takes.
        fill: how a seq2seq model writes what is missing: after its sentinel, by writing the whole text again up to the
            slot, or directly.
        prefix: why this family has no way in for prefixes ("" where it has one).
    """

    reserved: int = 0
    fill: Literal["sentinel", "infill", "direct"] = "direct"
    prefix: str = ""


FAMILIES: dict[str, Family] = {
    # positions start after the padding id, so that many rows of the table are never used
    "roberta": Family(reserved=2),
    "xlm-roberta": Family(reserved=2),
    "xlm-roberta-xl": Family(reserved=2),
    "roberta-prelayernorm": Family(reserved=2),
    "camembert": Family(reserved=2),
    # trained by span corruption: the answer follows the sentinel that stands in the text
    "t5": Family(fill="sentinel"),
    "mt5": Family(fill="sentinel"),
    "umt5": Family(fill="sentinel"),
    # trained to write the whole text again: the answer follows the text before the mask
    "bart": Family(fill="infill"),
    "mbart": Family(fill="infill"),
    # attention of their own, not through the attention interface
    "deberta": Family(prefix="its disentangled attention has no place for extra keys and values"),
    "deberta-v2": Family(prefix="its disentangled attention has no place for extra keys and values"),
    "mpnet": Family(reserved=2, prefix="its attention is not reached through the attention interface"),
}


def family(model_type: str) -> Family:
    """The row of a model type; the plain row where it has none."""
    return FAMILIES.get(model_type, Family())
