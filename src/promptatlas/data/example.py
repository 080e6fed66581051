"""One example: fields, and what is to be predicted of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

Target = str | float | frozenset[str] | tuple[str, ...] | None


@dataclass(frozen=True)
class Example:
    """Fields and a target.

    Attributes:
        fields: what a template may show; strings mostly, other objects where a part or a view reads them.
        target: a label; a number; a set of labels; a tag an item; the text wanted; None where it isn't known.
        key: tells examples apart, duplicates too (leave-one-out, pools that hold the query); "" where nothing needs it.
    """

    fields: Mapping[str, object] = field(default_factory=dict)
    target: Target = None
    key: str = ""
