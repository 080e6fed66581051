"""Files that commands write for people."""

from pathlib import Path

from promptatlas.errors import SettingError


def put(path: Path, text: str) -> None:
    """The file whole, or as it was. Raises SettingError where it can't be written."""
    fresh = path.with_name(f".{path.name}.new")
    try:
        fresh.write_text(text, "utf-8")
        fresh.replace(path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise SettingError(f"`{path}` can't be written: {error.strerror}", hint="give another file") from error
