"""Folders that are written whole or not at all: filled beside their place, flushed to disk, then renamed into it.

A folder that was there is renamed aside first, and renamed back if anything goes wrong. A process that is killed
between the two renames leaves the old one aside; `settle` puts it back, so whoever reads a folder settles it first.
"""

import errno
import os
import shutil
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from promptatlas.errors import ArtifactError


def put(folder: Path, files: Mapping[str, bytes], *, ours: Collection[str]) -> None:
    """Write a folder that holds exactly these files, in place of the one that is there.

    Args:
        folder: where; its parents are made.
        files: name -> content.
        ours: names a folder may hold that is replaced; one with anything else in it is left alone.

    Raises:
        ArtifactError: the folder can't be written, or isn't ours to replace.
    """

    def fill(fresh: Path) -> None:
        for name, data in files.items():
            write(fresh / name, data)

    replace(folder, fill, ours=ours)


def replace(folder: Path, fill: Callable[[Path], object], *, ours: Collection[str] | None = None) -> None:
    """Fill a new folder and put it in the place of the one that is there; see `put` (`ours` None: replace any)."""
    folder = settle(folder)
    if ours is not None:
        check_ours(folder, ours)
    fresh, aside = folder.with_name(f".{folder.name}.new"), _aside(folder)
    try:
        remove(fresh)  # left by a process that was killed
        fresh.mkdir(parents=True)
        fill(fresh)
        _flush(fresh)
        if folder.exists():
            folder.rename(aside)
        fresh.rename(folder)
        _flush_one(folder.parent)
        remove(aside)
    except OSError as error:
        raise ArtifactError(f"`{folder}` can't be written: {error.strerror or error}", hint=_hint(error)) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        settle(folder)


def settle(folder: Path) -> Path:
    """The folder with links resolved, and put back if a process was killed while it replaced it."""
    folder = Path(folder).expanduser().resolve()
    aside = _aside(folder)
    if aside.is_dir():
        if folder.exists():
            shutil.rmtree(aside, ignore_errors=True)
        else:
            aside.rename(folder)
    return folder


def write(path: Path, data: bytes) -> None:
    """Write one file."""
    path.write_bytes(data)


def remove(folder: Path) -> None:
    """Delete a folder and what is in it, if it is there."""
    if folder.exists():
        shutil.rmtree(folder)


def check_ours(folder: Path, ours: Collection[str]) -> None:
    """Refuse to replace what isn't a folder or holds other things than these names. Raises ArtifactError."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ArtifactError(f"`{folder}` is a file, not a folder", hint="give another path")
    others = sorted({path.name for path in folder.iterdir()} - set(ours))
    if others:
        names = ", ".join(f"`{name}`" for name in others[:3]) + (", ..." if len(others) > 3 else "")
        raise ArtifactError(
            f"`{folder}` holds other things and is left as it is: {names}", hint="give a folder of its own"
        )


def _aside(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.old")


def _flush(folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        _flush_one(path)
    _flush_one(folder)


def _flush_one(path: Path) -> None:
    if os.name == "nt" and path.is_dir():  # Windows can't open folders
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _hint(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "free some space, or give a folder on another disk; nothing was left behind"
    return "check that the path exists and may be written to"
