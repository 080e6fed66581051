"""What `predict` reads: texts or fields, one at a time, however long the file is."""

import csv
import sys
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from promptatlas.data.lines import read_object
from promptatlas.errors import DataError

STDIN = "-"
TABLES = {".csv": ",", ".tsv": "\t"}


class Item(NamedTuple):
    """One thing to answer: where it stands ("a.csv:3"), and its text or fields."""

    where: str
    value: str | dict[str, object]


def feed(file: str) -> Iterator[Item]:
    """The items of a file, or of stdin where it is called `-`.

    A .csv or .tsv has a header and a row an item, a .jsonl an object a line. Anything else is a text a line, or an
    object a line where the first line begins with `{`. Blank lines are items only among texts.

    Raises:
        DataError: the file can't be read, with file and line.
    """
    if file == STDIN:
        yield from _items(STDIN, "stdin", sys.stdin.buffer)
        return
    try:
        with Path(file).open("rb") as lines:
            yield from _items(Path(file).suffix.lower(), file, lines)
    except OSError as error:
        raise DataError(f"{file}: can't be opened: {error.strerror}", hint="give a file, or - for stdin") from error


def given(text: str) -> Item:
    """The one item of an argument: a text, or an object. Raises DataError: an object that isn't one."""
    return Item("EXAMPLE", read_object(text, "EXAMPLE") if text.lstrip().startswith("{") else text)


def _items(suffix: str, name: str, lines: Iterable[bytes]) -> Iterator[Item]:
    decoded = _decoded(name, lines)
    if suffix in TABLES:
        yield from _table(name, decoded, TABLES[suffix])
        return
    first = next(decoded, None)
    if first is None:
        return
    objects = suffix == ".jsonl" or first.lstrip().startswith("{")
    for number, line in enumerate(chain([first], decoded), 1):
        where, text = f"{name}:{number}", line.rstrip("\r\n")
        if not objects:
            yield Item(where, text)
        elif text.strip():
            yield Item(where, read_object(text, where))


def _decoded(name: str, lines: Iterable[bytes]) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        raw = line.removeprefix(BOM_UTF8) if number == 1 else line
        try:
            yield raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{name}:{number}: byte 0x{raw[error.start]:02x} is not UTF-8", hint="save the file as UTF-8"
            ) from error


def _table(name: str, lines: Iterator[str], delimiter: str) -> Iterator[Item]:
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    header: list[str] = []
    begins = 1
    try:
        for cells in reader:
            where, begins = f"{name}:{begins}", reader.line_num + 1
            if not cells:
                continue
            if not header:
                header = [cell.strip() for cell in cells]
                continue
            if len(cells) != len(header):
                raise DataError(
                    f"{where}: {len(cells)} cells, the header has {len(header)}",
                    hint='put quotes around a cell that holds a delimiter, a quote or a line break: "a, b"',
                )
            yield Item(where, dict(zip(header, cells, strict=True)))
    except csv.Error as error:
        raise DataError(
            f"{name}:{begins}: {error}", hint='a quote within a quoted cell is doubled: "a ""b"" c"'
        ) from error
