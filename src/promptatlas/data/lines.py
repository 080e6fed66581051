"""Lines: what a data file holds, a mapping a line, each with where it stands. JSON lines, CSV, TSV."""

import csv
import io
import json
from codecs import BOM_UTF8
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from promptatlas.errors import DataError

SUFFIXES = (".jsonl", ".csv", ".tsv")

_JSON_NAMES = {
    dict: "an object",
    list: "an array",
    tuple: "an array",
    str: "a string",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    type(None): "null",
}


class Line(NamedTuple):
    """One line of data: where it stands ("train.jsonl:3", "rows[2]"), and its values by column."""

    where: str
    values: Mapping[str, object]


class Lines(NamedTuple):
    """The lines of one split, all with the same columns, and where they come from."""

    where: str
    lines: tuple[Line, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns, in the order of the first line."""
        return tuple(self.lines[0].values)


def read_file(path: Path) -> Lines:
    """The lines of a .jsonl, .csv or .tsv file: UTF-8, with a byte order mark or without.

    A blank line is skipped. CSV and TSV have a header, and quotes doubled within quotes.

    Raises:
        DataError: what is wrong, with file and line.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise DataError(
            f"{path}: files `{suffix}` can't be read" if suffix else f"{path}: a file without an ending can't be read",
            hint="a data file is .jsonl (an object a line), .csv or .tsv (with a header)",
        )
    text = read_text(path)
    lines = _jsonl(text, path) if suffix == ".jsonl" else _table(text, path, "," if suffix == ".csv" else "\t")
    return checked(str(path), lines)


def checked(where: str, lines: Sequence[Line]) -> Lines:
    """The lines, once it is sure that there are some and that all have the columns of the first.

    Raises:
        DataError: there are none, or where they differ.
    """
    if not lines:
        raise DataError(f"{where}: no rows")
    columns = lines[0].values.keys()
    for line in lines:
        for missing in columns - line.values.keys():
            raise DataError(f"{line.where}: no `{missing}`, which the first row has")
        for added in line.values.keys() - columns:
            raise DataError(f"{line.where}: `{added}`, which the first row doesn't have")
    return Lines(where, tuple(lines))


def from_rows(where: str, rows: Iterable[Mapping[str, object]]) -> Lines:
    """The lines of rows in memory, the first at "where[0]".

    Raises:
        DataError: there are none, one is no mapping, or they differ in columns.
    """
    lines = []
    for index, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise DataError(f"{where}[{index}]: a {type(row).__name__}, not a mapping")
        lines.append(Line(f"{where}[{index}]", {str(column): value for column, value in row.items()}))
    return checked(where, lines)


def read_text(path: Path) -> str:
    """A file's text, from UTF-8.

    Raises:
        DataError: it can't be opened, or isn't UTF-8 (with the line).
    """
    try:
        content = path.read_bytes().removeprefix(BOM_UTF8)
    except OSError as error:
        raise DataError(f"{path}: can't be opened: {error.strerror}") from error
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}:{line}: byte 0x{content[error.start]:02x} is not UTF-8", hint="save the file as UTF-8"
        ) from error


def read_object(text: str, where: str, *, hint: str | None = None) -> dict[str, object]:
    """The JSON object a text is.

    Raises:
        DataError: it isn't JSON, or something other than an object.
    """
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        line = f"line {error.lineno}, " if "\n" in text else ""
        raise DataError(f"{where}: not JSON at {line}column {error.colno}: {error.msg}", hint=hint) from error
    except (ValueError, RecursionError) as error:  # a number or a nesting beyond what Python takes
        raise DataError(f"{where}: JSON that can't be read: {error}") from error
    if not isinstance(values, dict):
        raise DataError(f"{where}: {json_name(values)}, not an object")
    return values


def json_name(value: object) -> str:
    """What JSON calls a value: "a string", "an array"; the class's name for what isn't JSON."""
    return _JSON_NAMES.get(type(value), f"a {type(value).__name__}")


def _jsonl(text: str, path: Path) -> list[Line]:
    lines = []
    for number, line in enumerate(text.split("\n"), 1):  # not splitlines: U+2028 may stand in a JSON string
        if line.strip():
            where = f"{path}:{number}"
            lines.append(Line(where, read_object(line, where, hint="a row is one JSON object on one line")))
    return lines


def _table(text: str, path: Path, delimiter: str) -> list[Line]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] = []
    lines: list[Line] = []
    begins = 1
    try:
        for cells in reader:
            where = f"{path}:{begins}"
            begins = reader.line_num + 1
            if not cells:
                continue
            if not header:
                header = _header(cells, where)
                continue
            if len(cells) != len(header):
                raise DataError(
                    f"{where}: {len(cells)} cells, the header has {len(header)}",
                    hint='put quotes around a cell that holds a delimiter, a quote or a line break: "a, b"',
                )
            lines.append(Line(where, dict(zip(header, cells, strict=True))))
    except csv.Error as error:
        raise DataError(
            f"{path}:{begins}: {error}", hint='a quote within a quoted cell is doubled: "a ""b"" c"'
        ) from error
    return lines


def _header(cells: Sequence[str], where: str) -> list[str]:
    names = [cell.strip() for cell in cells]
    for name in names:
        if not name:
            raise DataError(f"{where}: a column without a name")
        if names.count(name) > 1:
            raise DataError(f"{where}: two columns `{name}`")
    return names
