"""Fits under way: the whole command, kept beside what it will write, until it is done."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptatlas.errors import ArtifactError, SettingError

if TYPE_CHECKING:
    from promptatlas.data.task import Task
    from promptatlas.lm.lm import LM

RECORD = "run.json"
ENDING = ".run"
FORMAT, VERSION = "promptatlas-run", 1


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a fit was asked for.

    Attributes:
        method: its name.
        lm: the model's name or folder.
        task: the task's name, folder or file.
        template: None where the task gives it.
        words: None where the task gives them.
        shots: examples a label; 0 is all.
        seed: of the draw, and of the method where it has a setting of that name.
        settings: of the method, as text.
        paper: whether what isn't set is the paper's.
        tries: what is chosen among, as text: values of settings, of "template" and of "words".
        select: how it is chosen: "cv", "mdl" or "dev".
        folds: of the choice.
        device: None where the machine decides.
        dtype: of the model.
        folder: where the command was given; relative paths begin there.
    """

    method: str
    lm: str
    task: str
    template: str | None
    words: Mapping[str, tuple[str, ...]] | None
    shots: int
    seed: int
    settings: Mapping[str, str]
    paper: bool
    tries: Mapping[str, tuple[str, ...]]
    select: str
    folds: int
    device: str | None
    dtype: str
    folder: str

    def here(self, name: str) -> str:
        """A task or model as it is called from the folder that is current now."""
        there = Path(self.folder) / name
        return name if Path(self.folder) == Path.cwd() or not there.exists() else str(there)


def run_folder(out: Path) -> Path:
    """Where the fit that will write `out` is kept until it is done."""
    out = out.expanduser().resolve()
    return out.with_name(out.name + ENDING)


def identity(task: "Task", lm: "LM") -> dict[str, str]:
    """What tells the data and the model of a fit from others."""
    known = lm.identity
    return {"data": task.identity(), "language model": known["weights"], "tokenizer": known["tokenizer"]}


def begin(request: Request, identity: Mapping[str, str], out: Path) -> bool:
    """Keep a request beside `out`. True where the same one is there already, to go on with.

    Args:
        request: the command.
        identity: of the data and the model, so that a fit doesn't go on with others.
        out: where the prompt will be.

    Raises:
        SettingError: another fit is unfinished there.
        ArtifactError: the folder can't be written.
    """
    folder = run_folder(out)
    if folder.exists():
        if read(folder) != request:
            again = "the same `promptatlas auto`" if request.method == "auto" else f"promptatlas fit --resume {out}"
            raise SettingError(
                f"`{folder}` holds an unfinished fit that was asked for otherwise",
                hint=f"go on with it: {again}; or delete that folder",
            )
        check(folder, identity)
        return True
    record = {"format": FORMAT, "version": VERSION, "request": asdict(request), "identity": dict(identity)}
    try:
        folder.mkdir(parents=True)
        keep(folder / RECORD, record)
    except OSError as error:
        raise ArtifactError(f"`{folder}` can't be written: {error.strerror}", hint="give another --out") from error
    return False


def keep(path: Path, value: Mapping[str, Any]) -> None:
    """Write JSON whole or not at all. Raises OSError."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(json.dumps(value, indent=1, ensure_ascii=False), "utf-8")
    os.replace(fresh, path)  # noqa: PTH105 - replaces on Windows too, as Path.rename doesn't


def find(folder: Path) -> Path:
    """The run folder of a fit, given it or the folder the fit was to write.

    Raises:
        SettingError: there is none.
    """
    given = folder.expanduser().resolve()
    for one in (given, run_folder(given)):
        if (one / RECORD).is_file():
            return one
    done = (given / "prompt.json").is_file()
    raise SettingError(
        f"there is no unfinished fit at `{folder}`" + (": it is done" if done else ""),
        hint="`promptatlas show` says what was learned"
        if done
        else f"give the --out of a fit that was stopped, or its folder `...{ENDING}`",
    )


def read(folder: Path) -> Request:
    """The request that is kept in a run folder. Raises ArtifactError where it isn't whole."""
    values = dict(_record(folder)["request"])
    unknown = values.keys() ^ {one.name for one in fields(Request)}
    if unknown:
        raise ArtifactError(
            f"`{folder / RECORD}` is of another promptatlas: `{sorted(unknown)[0]}`", hint="begin the fit anew"
        )
    words = values["words"]
    values["words"] = None if words is None else {label: tuple(some) for label, some in words.items()}
    values["tries"] = {key: tuple(some) for key, some in values["tries"].items()}
    return Request(**values)


def check(folder: Path, identity: Mapping[str, str]) -> None:
    """Refuse to go on with other data or another model. Raises ArtifactError naming what changed."""
    before = _record(folder)["identity"]
    for what, now in identity.items():
        if before.get(what) != now:
            raise ArtifactError(
                f"`{folder}` holds an unfinished fit, and since then the {what} changed",
                hint="delete that folder to begin anew",
            )


def forget(folder: Path) -> None:
    """Delete a run folder that holds nothing but the request: its fit failed before it did anything."""
    if folder.is_dir() and {one.name for one in folder.iterdir()} <= {RECORD}:
        (folder / RECORD).unlink(missing_ok=True)
        folder.rmdir()


def _record(folder: Path) -> dict[str, Any]:
    path = folder / RECORD
    try:
        record = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ArtifactError(f"`{path}` can't be read: {error}", hint="delete that folder to begin anew") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT or record.get("version") != VERSION:
        raise ArtifactError(f"`{path}` is no fit that is known here", hint="delete that folder to begin anew")
    return record
