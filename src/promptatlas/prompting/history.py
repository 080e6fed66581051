"""What is kept of who made a prompt: methods, their settings, the model, what they measured."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from promptatlas.lm.lm import LM


@dataclass(frozen=True, kw_only=True)
class Step:
    """One method's work on a prompt.

    Attributes:
        method: its name.
        settings: its settings, as JSON.
        lm: name, hashes, dtype of the model it was done on.
        task: identity of the task's data.
        figures: what was measured.
    """

    method: str
    settings: Mapping[str, Any]
    lm: Mapping[str, str]
    task: str
    figures: Mapping[str, float | int | str] = field(default_factory=dict)


def model(lm: LM) -> dict[str, str]:
    """What is kept of a model in a history: its name, its hashes and its dtype."""
    return {"name": lm.name, **lm.identity, "dtype": lm.dtype}


def plain(value: Any) -> Any:
    """JSON of settings: numbers, strings, lists and objects; anything else by its text."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, tuple | list | frozenset | set):
        return [plain(one) for one in (sorted(value) if isinstance(value, frozenset | set) else value)]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
