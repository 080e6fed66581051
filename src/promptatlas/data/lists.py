"""Lists of words by label out of files that people have: a line a label, a file a label, or JSON."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from promptatlas.data.lines import json_name, read_object, read_text
from promptatlas.errors import DataError, near

WAYS = "a line a label (`word, word`, or `label: word, word`), a folder of label.txt, or JSON of words by label"


def read_lists(path: str | Path, labels: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Words by label, each once, in the order they stand.

    A text file has a line a label, words between commas (also full-width ones): `label: word, word`, or words alone in
    the order of `labels`, as OpenPrompt's and KPT's verbalizers are written. A folder has a file `label.txt` for each,
    a word a line. A JSON file is an object of words by label; what is nested in a list is taken out of it.

    Args:
        path: of the file or folder.
        labels: all there are, in the order of the lines where these don't name them.

    Raises:
        DataError: it can't be read, has no words for a label, or other labels or another number of lines than labels.
    """
    path = Path(path)
    if path.is_dir():
        found = {label: read_text(path / f"{label}.txt").splitlines() for label in labels}
    elif path.suffix == ".json":
        found = _object(path)
    else:
        found = _lines(path, labels)
    for label in found:
        if label not in labels:
            raise DataError(f"{path}: words for `{label}`, which is no label", hint=near(label, labels))
    lists = {label: tuple(dict.fromkeys(filter(None, map(str.strip, found.get(label, ()))))) for label in labels}
    for label, some in lists.items():
        if not some:
            raise DataError(f"{path}: no words for the label `{label}`", hint=f"give them as {WAYS}")
    return lists


def _object(path: Path) -> dict[str, list[str]]:
    text = read_text(path)
    if text.lstrip().startswith("["):
        raise DataError(f"{path}: an array, not an object of words by label", hint=f"give words as {WAYS}")
    return {label: _flat(value, f"{path}: `{label}`") for label, value in read_object(text, str(path)).items()}


def _flat(value: object, where: str) -> list[str]:
    """The words in a value; of an object in a list, all those in it."""
    if isinstance(value, str):
        return value.split(",")
    some = list(value.values()) if isinstance(value, Mapping) else value
    if not isinstance(some, list):
        raise DataError(f"{where} is {json_name(value)}, not words")
    return [word for one in some for word in _flat(one, where)]


def _lines(path: Path, labels: Sequence[str]) -> dict[str, list[str]]:
    lines = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    parted = [line.replace("：", ":").partition(":") for line in lines]
    if lines and all(sign and label.strip() in labels for label, sign, _ in parted):
        names, texts = [label.strip() for label, _, _ in parted], [rest for _, _, rest in parted]
    else:
        names, texts = list(labels), lines
    if len(lines) != len(labels):
        known = ", ".join(f"`{label}`" for label in labels)
        raise DataError(f"{path}: {len(lines)} lines for {len(labels)} labels, {known}", hint=f"give words as {WAYS}")
    return {name: _words(text) for name, text in zip(names, texts, strict=True)}


def _words(text: str) -> list[str]:
    for mark in ("，", "、"):
        text = text.replace(mark, ",")
    return text.split(",")
