"""Cells: what was measured, kept a line of JSON each in a fixed order, so that only what is missing is measured."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from promptatlas.errors import DataError, PromptAtlasError

Key = tuple[str, str, str]  # work, case, figure
FIGURES = ("operations", "time", "memory", "share", "cost")


class Skipped(PromptAtlasError):
    """A cell that can't be measured here: a peer isn't there, say."""


@dataclass(frozen=True)
class Cell:
    """One figure of one case.

    Attributes:
        work: the command it belongs to.
        case: what was done, on which model and against whom; for people.
        figure: one of `FIGURES`.
        values: "ours", "peer", "floor", "ratio" and others by name.
        how: every setting the values depend on.
        beside: the versions of what was measured.
    """

    work: str
    case: str
    figure: str
    values: Mapping[str, Any]
    how: str
    beside: str = ""

    @property
    def key(self) -> Key:
        """What tells it from others."""
        return self.work, self.case, self.figure


@dataclass
class Store:
    """The file of cells, in the order of `works`. One writer at a time."""

    path: Path
    works: Sequence[str]
    cells: dict[Key, Cell] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path, works: Sequence[str]) -> "Store":
        """The cells of a file, of none if there is none.

        Raises:
            DataError: the file is something else.
        """
        store = cls(path, works)
        for at, line in enumerate(path.read_text("utf-8").splitlines() if path.is_file() else [], 1):
            try:
                cell = Cell(**json.loads(line))
            except (ValueError, TypeError) as error:
                raise DataError(f"{path.name}:{at} is no cell of this benchmark", hint="give another --out") from error
            store.cells[cell.key] = cell
        return store

    def has(self, key: Key, how: str) -> bool:
        """Whether this was measured, under the settings of now."""
        found = self.cells.get(key)
        return found is not None and found.how == how

    def add(self, cell: Cell) -> None:
        """Keep a cell, in the file too."""
        self.cells[cell.key] = cell
        lines = [json.dumps(asdict(one), ensure_ascii=False) + "\n" for one in self.ordered()]
        write(self.path, "".join(lines))

    def ordered(self) -> list[Cell]:
        """All, by work; what belongs together stays in the order it was first measured in."""
        place = {work: at for at, work in enumerate(self.works)}
        return sorted(self.cells.values(), key=lambda one: place.get(one.work, len(place)))


def write(path: Path, text: str) -> None:
    """Put a file in its place whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(text, "utf-8")
    fresh.replace(path)
