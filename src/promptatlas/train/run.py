"""A run: where a fit keeps what it has done, to whom it reports, and when it has to stop."""

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import local
from typing import Any, TypeVar

from torch.utils.flop_counter import FlopCounterMode

from promptatlas.artifact.folder import put, remove, replace, settle
from promptatlas.artifact.load import load as load_prompt
from promptatlas.artifact.save import save as save_prompt
from promptatlas.errors import ArtifactError, PromptAtlasError, SettingError
from promptatlas.prompting import Ensemble, Prompt
from promptatlas.train.share import writes

Value = TypeVar("Value")

VALUE = "value.json"
FIRST, EACH = 4, 16  # steps whose operations are all counted; then one in so many is


class Cancelled(PromptAtlasError):
    """A fit that was stopped before its end: asked to, or at its budget. What a run folder holds is kept."""


@dataclass(frozen=True)
class Event:
    """One report of progress.

    Attributes:
        what: what is being done: "tune", "dev", "stage", or a method's own word.
        done: how much of it.
        total: how much there is; 0 where nobody knows.
        figures: what was measured.
    """

    what: str
    done: int = 0
    total: int = 0
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(eq=False)
class Run:
    """One fit under way. `Run()` keeps nothing, tells nobody and never stops; a run serves one fit.

    A fit that was stopped goes on where it was when it is started again with another `Run` on the same folder.

    Attributes:
        folder: keeps stages and checkpoints; None: nothing is kept.
        listen: called with every event.
        budget: operations after which the fit stops; they are counted in some of its steps, which makes these slower.
        minutes: after which the fit stops, from when the run was made.
        cancelled: asked between steps; true stops the fit.
        watch: shown what a `tune` has learned after each of its steps (the step, how many there may be, the prompt),
            out of training mode and without gradients; whatever it draws, it draws by seeds of its own.
        seconds: between two checkpoints.
        steps: between two checkpoints, whatever the time; None: by time alone.
    """

    folder: Path | None = None
    listen: Callable[[Event], None] | None = None
    budget: float | None = None
    minutes: float | None = None
    cancelled: Callable[[], bool] | None = None
    watch: Callable[[int, int, Prompt], None] | None = None
    seconds: float = 60.0
    steps: int | None = None
    _began: float = field(default_factory=time.monotonic, init=False, repr=False)
    _spent: float = field(default=0.0, init=False, repr=False)
    _last: float = field(default=0.0, init=False, repr=False)
    _counted: int = field(default=0, init=False, repr=False)
    _within: list[str] = field(default_factory=list, init=False, repr=False)
    _places: dict[tuple[str, ...], int] = field(default_factory=dict, init=False, repr=False)
    _here: local = field(default_factory=local, init=False, repr=False)

    def tell(self, event: Event) -> None:
        """Report progress."""
        if self.listen is not None:
            self.listen(event)

    def reason(self) -> str:
        """Why the fit has to stop now; "" where it may go on."""
        if self.cancelled is not None and self.cancelled():
            return "cancelled"
        if self.minutes is not None and time.monotonic() - self._began >= self.minutes * 60:
            return f"{self.minutes:g} minutes are over"
        if self.budget is not None and self._spent >= self.budget:
            return f"the budget of {self.budget:.3g} operations is used up"
        return ""

    def check(self, what: str, done: int = 0, total: int = 0) -> None:
        """Stop here if the fit has to. Raises Cancelled, which says why and where."""
        reason = self.reason()
        if reason:
            self.stop(reason, what, done, total)

    def stop(self, reason: str, what: str, done: int = 0, total: int = 0) -> None:
        """Stop here. Raises Cancelled."""
        where = f"{what}, {done} of {total}" if total else what
        hint = (
            f"fit again with the folder `{self.folder}` to go on" if self.folder else "with a run folder it could go on"
        )
        raise Cancelled(f"stopped: {reason} ({where})", hint=hint)

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count the operations of a step, done inside; nothing where there is no budget.

        Counting makes a step many times slower, so after the first few only every sixteenth is counted, and what lies
        between counts as much as the last one that was.
        """
        if self.budget is None:
            yield
            return
        if self._counted < FIRST or self._counted % EACH == 0:
            with FlopCounterMode(display=False) as counter:
                yield
            self._last = counter.get_total_flops()
        else:
            yield
        self._counted += 1
        self._spent += self._last

    @property
    def spent(self) -> float:
        """Operations counted so far; without a budget none are (an infinite one counts, and never stops)."""
        return self._spent

    @property
    def figures(self) -> Mapping[str, float | int]:
        """What the last `tune` of this thread measured: steps, loss, dev_accuracy, dev_loss, seconds, trained."""
        return getattr(self._here, "figures", {})

    def note(self, figures: Mapping[str, float | int]) -> None:
        """Keep figures for whoever asks for `figures` next."""
        self._here.figures = dict(figures)

    def place(self) -> Path | None:
        """The folder of the next thing trained: the first of a stage is always the same folder, and so on."""
        within = tuple(self._within)
        at = self._places.get(within, 0)
        self._places[within] = at + 1
        base = self._base()
        return None if base is None else base / f"tune-{at}"

    def stage(
        self,
        key: str,
        make: Callable[[], Value],
        *,
        save: Callable[[Value, Path], object] | None = None,
        load: Callable[[Path], Value] | None = None,
    ) -> Value:
        """What `make` makes, once: with a folder it is kept there, and a fit that starts again reads it.

        Args:
            key: of the stage: letters, digits, `.`, `-`, `_`; each of a fit's own.
            make: makes a prompt, an ensemble, or a value that is JSON (it comes back as JSON has it: tuples are lists).
            save: writes any other value into an empty folder.
            load: reads it back.
        """
        if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", key):
            raise SettingError(f"`{key}` can't be the key of a stage", hint="letters, digits, `.`, `-` and `_` only")
        base = self._base()
        folder = None if base is None else settle(base / "stages" / key)
        if folder is not None and folder.is_dir():
            self.tell(Event("stage", 1, 1))
            return load(folder) if load is not None else _read(folder)
        self.check(f"before stage {key}")
        self._within.append(key)
        try:
            value = make()
            working = self._base()
        finally:
            self._places.pop(tuple(self._within), None)
            self._within.pop()
        value = _keep(value, folder if writes() else None, save)
        if working is not None and writes():
            remove(working)
        self.tell(Event("stage", 1, 1))
        return value

    def _base(self) -> Path | None:
        """The folder of the stage we are in: its checkpoints and its own stages, deleted when it is done."""
        if self.folder is None:
            return None
        return Path(self.folder).joinpath(*(part for key in self._within for part in ("working", key)))


def _keep(value: Value, folder: Path | None, save: Callable[[Value, Path], object] | None) -> Value:
    """Write a stage's value; the value, as it will be read."""
    if save is not None:
        if folder is not None:
            replace(folder, lambda fresh: save(value, fresh))
        return value
    if isinstance(value, Prompt | Ensemble):
        if folder is not None:
            save_prompt(value, folder)
        return value
    try:
        text = json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        kind = type(value).__name__
        raise SettingError(f"a stage made a {kind} that is not JSON: {error}", hint="give `save` and `load`") from error
    if folder is not None:
        put(folder, {VALUE: text.encode()}, ours=(VALUE,))
    again: Value = json.loads(text)
    return again


def _read(folder: Path) -> Any:
    path = folder / VALUE
    if not path.is_file():
        return load_prompt(folder)
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise ArtifactError(
            f"`{path}` is not whole: {error}", hint="delete its folder; it will be made again"
        ) from error
