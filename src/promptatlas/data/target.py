"""Targets: which kind of task columns make, and what one line's target is."""

import json
import math
from collections.abc import Mapping, Sequence
from numbers import Integral, Real

from promptatlas.data.example import Target
from promptatlas.data.lines import Line, json_name
from promptatlas.data.task import Kind
from promptatlas.errors import DataError

COLUMNS: Mapping[Kind, tuple[str, ...]] = {
    "label": ("label",),
    "labels": ("labels",),
    "number": ("label",),
    "tags": ("tags",),
    "choice": ("answer_idx", "answer", "label"),
    "text": ("references", "summary", "target", "answer"),
}
"""The columns that may hold a kind's target; the first there is holds it, the others are not fields either."""

LISTED: Mapping[Kind, str] = {"tags": "tokens", "choice": "choices"}
"""The column of texts a kind can't be without."""


def kind_of(columns: Sequence[str]) -> Kind | None:
    """The kind of task these columns make, None where none holds a target."""
    present = set(columns)
    if {"tags", "tokens"} <= present:
        return "tags"
    if "choices" in present:
        return "choice"
    if "labels" in present:
        return "labels"
    if "label" in present:
        return "label"
    if present & set(COLUMNS["text"]):
        return "text"
    return "tags" if "tags" in present else None


def target_of(kind: Kind, line: Line, column: str) -> Target:
    """A line's target, read from this column.

    Raises:
        DataError: it has none, or one that doesn't fit the kind; with file and line.
    """
    value, where = line.values[column], line.where
    match kind:
        case "label":
            return label_of(value, column, where)
        case "labels":
            return frozenset(label_of(item, column, where) for item in list_of(value, column, where))
        case "number":
            return _number(value, column, where)
        case "tags":
            return _tags(line, column)
        case "choice":
            return _choice(line, column)
        case "text":
            return _text(value, column, where)


def label_of(value: object, column: str, where: str) -> str:
    """A label as a string: "0" for 0, "true" for true.

    Raises:
        DataError: there is none, or it is a fraction or a list.
    """
    if value is None or value == "":
        raise DataError(f"{where}: no {column}", hint="rows without a label belong into the split `unlabeled`")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Integral):
        return str(int(value))
    if isinstance(value, Real):
        raise DataError(
            f"{where}: `{column}` is the number {value}, not a label",
            hint='a task of numbers says so in task.json: {"kind": "number"}',
        )
    hint = "several labels a row stand under `labels`" if isinstance(value, list | tuple) else None
    raise DataError(f"{where}: `{column}` is {json_name(value)}, not a label", hint=hint)


def list_of(value: object, column: str, where: str) -> Sequence[object]:
    """A list; in a cell of a table, the list its JSON stands for.

    Raises:
        DataError: it is something else.
    """
    if isinstance(value, str) and value.startswith("["):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise DataError(f"{where}: `{column}` is not JSON: {error}") from error
    if not isinstance(value, list | tuple):
        raise DataError(f"{where}: `{column}` is {json_name(value)}, not a list")
    return value


def texts_of(value: object, column: str, where: str) -> tuple[str, ...]:
    """A list of texts, as `list_of` reads it.

    Raises:
        DataError: it is something else, or an item is no text.
    """
    items = list_of(value, column, where)
    for item in items:
        if not isinstance(item, str):
            raise DataError(f"{where}: `{column}` holds {json_name(item)}, not only strings")
    return tuple(str(item) for item in items)


def _number(value: object, column: str, where: str) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool) or not math.isfinite(number):
        shown = f"`{value}`" if isinstance(value, str) else json_name(value)
        raise DataError(f"{where}: `{column}` is {shown}, not a number")
    return number


def _tags(line: Line, column: str) -> tuple[str, ...]:
    tags = texts_of(line.values[column], column, line.where)
    tokens = texts_of(line.values["tokens"], "tokens", line.where)
    if len(tags) != len(tokens):
        raise DataError(f"{line.where}: {len(tokens)} tokens, {len(tags)} tags", hint="every token has one tag")
    return tags


def _choice(line: Line, column: str) -> str:
    choices = texts_of(line.values["choices"], "choices", line.where)
    value = line.values[column]
    if value is None or value == "":
        raise DataError(f"{line.where}: no {column}")
    right = _right(value, column, choices)
    if right is None:
        raise DataError(
            f"{line.where}: `{column}` is {value!r}, which is none of {len(choices)} choices",
            hint="give the choice's text, or its place: 0 or A for the first",
        )
    answer = line.values.get("answer")
    if column == "answer_idx" and isinstance(answer, str) and answer != right:
        raise DataError(f"{line.where}: choice {value} is {right!r}, `answer` is {answer!r}")
    return right


def _right(value: object, column: str, choices: Sequence[str]) -> str | None:
    if column != "answer_idx" and value in choices:
        return str(value)
    if isinstance(value, bool):
        return None
    if isinstance(value, Integral) or (isinstance(value, str) and value.isdecimal()):
        place = int(value)
    elif isinstance(value, str) and len(value) == 1 and "A" <= value <= "Z":
        place = ord(value) - ord("A")
    else:
        return None
    return choices[place] if 0 <= place < len(choices) else None


def _text(value: object, column: str, where: str) -> Target:
    if isinstance(value, list | tuple) or (column == "references" and isinstance(value, str) and value[:1] == "["):
        references = texts_of(value, column, where)
        if not references:
            raise DataError(f"{where}: no {column}")
        return references
    if isinstance(value, Real) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise DataError(f"{where}: `{column}` is {json_name(value)}, not a text")
    if not value:
        raise DataError(f"{where}: no {column}")
    return value
