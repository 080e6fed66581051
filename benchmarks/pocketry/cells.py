"""Cells: what was measured, kept a line of JSON each, so that only what is missing is measured."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from promptatlas.bench import Cell
from promptatlas.errors import DataError

PARTS = ("wikitext", "zero", "tuned", "demos", "facts")
Figures = Mapping[str, float | int]  # "value" and "n"; others by name; "x se" is the standard error of "x"
Key = tuple[str, str, str, int]  # model, task, method, seed


@dataclass(frozen=True)
class Work:
    """A cell that can be measured.

    Attributes:
        part: of the benchmark, one of `PARTS`.
        task: the data set.
        method: what is done with it; for people.
        seed: of the draw; 0 where nothing is drawn.
        how: every setting the figures depend on beside the model.
        measure: does it.
    """

    part: str
    task: str
    method: str
    seed: int
    how: str
    measure: Callable[[], Figures]


@dataclass(frozen=True)
class Kept:
    """A cell as it stands in the file; `group` is the models it may be compared with ("masked", "causal, Chinese")."""

    part: str
    group: str
    how: str
    cell: Cell

    @property
    def key(self) -> Key:
        """What tells it from others; a later cell of the same key takes its place."""
        return self.cell.lm, self.cell.task, self.cell.method, self.cell.seed

    def line(self) -> str:
        """As it is written."""
        values = {"part": self.part, "group": self.group, "how": self.how, "cell": self.cell.to_json()}
        return json.dumps(values, ensure_ascii=False) + "\n"

    @classmethod
    def read(cls, line: str) -> "Kept":
        """Back from its line. Raises ValueError, KeyError, TypeError or DataError for anything else."""
        found: Mapping[str, Any] = json.loads(line)
        return cls(found["part"], found["group"], found["how"], Cell.from_json(found["cell"]))


@dataclass
class Store:
    """The file of cells. One writer at a time."""

    path: Path
    cells: dict[Key, Kept] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path) -> "Store":
        """The cells of a file, of none if there is none; a last line cut off by a kill is dropped.

        Raises:
            DataError: the file is something else.
        """
        lines = path.read_text("utf-8").splitlines() if path.is_file() else []
        cells: dict[Key, Kept] = {}
        for at, line in enumerate(lines, 1):
            try:
                kept = Kept.read(line)
            except (ValueError, KeyError, TypeError, DataError) as error:
                if at < len(lines):
                    raise DataError(f"{path}:{at} is no cell of this benchmark", hint="give another --out") from error
                continue
            cells[kept.key] = kept
        store = cls(path, cells)
        if len(cells) < len(lines):
            write(path, "".join(one.line() for one in cells.values()))
        return store

    def has(self, lm: str, work: Work) -> bool:
        """Whether this was measured, under the settings of now."""
        found = self.cells.get((lm, work.task, work.method, work.seed))
        return found is not None and found.how == work.how

    def add(self, kept: Kept) -> None:
        """Keep a cell, in the file too."""
        self.cells[kept.key] = kept
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(kept.line())


def missing(store: Store, lm: str, works: Iterable[Work]) -> list[Work]:
    """Those that have to be measured."""
    return [one for one in works if not store.has(lm, one)]


def write(path: Path, text: str) -> None:
    """Put a file in its place whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(text, "utf-8")
    fresh.replace(path)
