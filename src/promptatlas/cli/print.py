"""All that is printed, and how it looks: data on stdout, the rest on stderr; no colour but on a terminal."""

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from threading import Lock, Timer
from types import TracebackType
from typing import Any, Protocol, runtime_checkable

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

WAIT = 2.0  # seconds after which a bar is shown
NARROW = 100  # columns where there is no terminal to ask

Cell = str | int | float | None


@runtime_checkable
class Told(Protocol):
    """What a run reports; see `promptatlas.train.run.Event`."""

    @property
    def what(self) -> str:
        """What is being done."""

    @property
    def done(self) -> int:
        """How much of it."""

    @property
    def total(self) -> int:
        """How much there is."""

    @property
    def figures(self) -> Mapping[str, float]:
        """What was measured."""


def data(value: Any) -> None:
    """One JSON value, indented, on stdout."""
    print(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def line(value: Any) -> None:
    """One JSON value on one line of stdout, at once."""
    print(json.dumps(value, ensure_ascii=False, allow_nan=False), flush=True)


def table(columns: Sequence[str], rows: Iterable[Sequence[Cell]], *, title: str = "") -> None:
    """A table on stdout; numbers stand right."""
    cells = [list(row) for row in rows]
    drawn = Table(box=None, title=Text(title, style="bold") if title else None, title_justify="left", pad_edge=False)
    for at, column in enumerate(columns):
        numeric = bool(cells) and all(isinstance(row[at], int | float) for row in cells)
        drawn.add_column(escape(column), justify="right" if numeric else "left", overflow="fold")
    for row in cells:
        drawn.add_row(*(Text(shown(cell)) for cell in row))
    _console().print(drawn)


def pairs(rows: Iterable[tuple[str, Cell]], *, title: str = "") -> None:
    """Names and values, one a line, on stdout."""
    drawn = Table(
        box=None,
        show_header=False,
        title=Text(title, style="bold") if title else None,
        title_justify="left",
        pad_edge=False,
    )
    drawn.add_column(style="bold", no_wrap=True)
    drawn.add_column(overflow="fold")
    for name, value in rows:
        drawn.add_row(Text(name), Text(shown(value)))
    _console().print(drawn)


def text(value: str = "", *, bold: bool = False) -> None:
    """A paragraph on stdout."""
    _console().print(Text(value, style="bold" if bold else ""))


def drawn(value: RenderableType) -> None:
    """Something that knows how it looks (`__rich__`), on stdout."""
    _console().print(value)


def note(value: str) -> None:
    """A line on stderr."""
    _console(stderr=True).print(Text(value), soft_wrap=True)


def problem(message: str, hint: str | None = None) -> None:
    """An error on stderr: what is wrong, and what to do, each on a line of its own."""
    console = _console(stderr=True)
    console.print(Text.assemble(("error: ", "bold red"), message), soft_wrap=True)
    if hint:
        console.print(Text.assemble(("hint: ", "bold"), hint), soft_wrap=True)


def shown(value: Cell) -> str:
    """A value as people read it: four places of a fraction, thousands apart."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4f}" if 1e-3 <= abs(value) < 1e6 or value == 0 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def spent(each: Mapping[str, float]) -> str:
    """What an answer took, of its passes, tokens and operations."""
    passes, tokens, operations = (each[name] for name in ("passes", "tokens", "operations"))
    return f"an answer took {passes:.3g} passes, {tokens:,.1f} tokens, {operations:.3g} operations"


class Bar:
    """What is being done and how far it is, on stderr, from two seconds on, and only on a terminal.

    Used as a context; `step` says what comes next, `listen` takes the events of a run, `advance` counts.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        """Nothing is shown yet; nor later, where `quiet`."""
        self._quiet = quiet
        self._lock = Lock()
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._what, self._done, self._total = "", 0, 0
        self._figures: Mapping[str, float] = {}
        self._timer: Timer | None = None

    def __enter__(self) -> "Bar":
        """Show it in two seconds, where anyone sees it."""
        if not self._quiet and _console(stderr=True).is_terminal:
            self._timer = Timer(WAIT, self._show)
            self._timer.daemon = True
            self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take it off the screen."""
        if self._timer is not None:
            self._timer.cancel()
        with self._lock:
            self._timer = None
            if self._progress is not None:
                self._progress.stop()

    def step(self, what: str, total: int = 0) -> None:
        """Say what is done next; `total` 0 where nobody knows how much it is."""
        self._set(what, 0, total, {})

    def advance(self, count: int = 1) -> None:
        """So many more are done."""
        self._set(self._what, self._done + count, self._total, self._figures)

    def listen(self, event: Told) -> None:
        """Take an event of a run."""
        if event.what == "stage":
            return
        kept = self._figures if event.what == "dev" else {}
        self._set("tune" if event.what == "dev" else event.what, event.done, event.total, {**kept, **event.figures})

    def _set(self, what: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        with self._lock:
            if what != self._what and self._progress is not None and self._task is not None:
                self._progress.reset(self._task)  # times are those of what is done now
            self._what, self._done, self._total, self._figures = what, done, total, figures
            self._update()

    def _show(self) -> None:
        with self._lock:
            if self._timer is None:
                return
            columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[count]}"))
            times = (TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("{task.fields[figures]}"))
            self._progress = Progress(*columns, *times, console=_console(stderr=True), transient=True)
            self._task = self._progress.add_task("", total=None, count="", figures="")
            self._update()
            self._progress.start()

    def _update(self) -> None:
        if self._progress is None or self._task is None:
            return
        figures = "  ".join(f"{name} {value:.3g}" for name, value in self._figures.items() if name != "lr")
        count = f"{self._done:,}/{self._total:,}" if self._total else ""
        self._progress.update(
            self._task, description=escape(self._what), completed=self._done, total=self._total or None,
            count=count, figures=escape(figures),
        )  # fmt: skip


def _console(*, stderr: bool = False) -> Console:
    """Made anew each time, so that streams and NO_COLOR are those of now."""
    console = Console(stderr=stderr, highlight=False, emoji=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = NARROW
    return console


def stdout_closed() -> None:
    """Stop writing to a stdout whose reader is gone (`| head`), and don't complain at exit."""
    sys.stdout = None
