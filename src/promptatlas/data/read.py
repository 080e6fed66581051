"""Reading: a folder, a file, an embedded task, rows in memory, a dataset of the `datasets` package -> Task."""

from collections.abc import Iterable, Iterator, Mapping
from importlib.resources import files
from os import PathLike
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from promptatlas.data.about import About, read_about
from promptatlas.data.lines import SUFFIXES, Lines, from_rows, read_file, read_object, read_text
from promptatlas.data.rows import Split, assemble
from promptatlas.data.task import Task, quoted
from promptatlas.errors import DataError, near

Row = Mapping[str, object]

_SPLITS: Mapping[str, Split] = {
    "train": "train",
    "dev": "dev",
    "validation": "dev",
    "valid": "dev",
    "test": "test",
    "unlabeled": "unlabeled",
    "unsupervised": "unlabeled",
}


def read_task(name_or_path: str | PathLike[str]) -> Task:
    """Read a task: an embedded one by name, a folder, or one file.

    A folder has a file a split (train, dev, test, unlabeled; .jsonl, .csv or .tsv) and may have a task.json, that says
    what can't be seen in them: name, kind, labels in order, fields, metric, template (or sub-prompts), words, none,
    description, low, high.
    One file is both what is learned from and what is tested on. A string that names something on the disk, or has a
    separator in it, is a path.

    The kind follows from the columns: `label` · `labels`, a list · `tags` and `tokens`, as many · `choices` and
    `answer_idx`, `answer` or `label` · `references`, `summary`, `target` or `answer`, a text. The rest are fields.

    Raises:
        DataError: there is nothing by this name, or what there is can't be read; with file and line.
    """
    text = str(name_or_path)
    path = Path(name_or_path)
    if isinstance(name_or_path, str) and not (path.exists() or "/" in text or "\\" in text):
        if text not in embedded_tasks():
            raise DataError(f"`{text}` is no embedded task, file or folder", hint=near(text, embedded_tasks()))
        path = _pocket() / text
    if path.is_dir():
        return _read_folder(path)
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    return assemble({"train": read_file(path)}, About(), path.stem)


def embedded_tasks() -> tuple[str, ...]:
    """The names of the tasks that come with promptatlas."""
    folder = _pocket()
    found = folder.iterdir() if folder.is_dir() else ()
    return tuple(sorted(task.name for task in found if task.is_dir() and _files(task)))


def read_rows(
    rows: Iterable[Row],
    *,
    dev: Iterable[Row] = (),
    test: Iterable[Row] = (),
    unlabeled: Iterable[Row] = (),
    name: str = "rows",
    about: Row | None = None,
) -> Task:
    """A task out of rows in memory, by the columns `read_task` goes by.

    Args:
        rows: to learn from, and to test on where nothing else is given.
        dev: to choose by.
        test: to test on.
        unlabeled: rows without target.
        name: the task's.
        about: what a task.json would say.

    Raises:
        DataError: a row that doesn't fit, as "rows[2]" or "dev[0]".
    """
    tables: dict[Split, Lines] = {"train": from_rows("rows", rows)}
    others: tuple[tuple[Split, Iterable[Row]], ...] = (("dev", dev), ("test", test), ("unlabeled", unlabeled))
    for split, given in others:
        listed = list(given)
        if listed:
            tables[split] = from_rows(split, listed)
    return assemble(tables, read_about(about or {}, "about"), name)


def from_datasets(data: object, *, name: str = "dataset", about: Row | None = None) -> Task:
    """A task out of a `Dataset` or `DatasetDict` of the `datasets` package, or any mapping of splits to rows.

    Numbers of a `ClassLabel` become its names, whose order `labels` keeps; rows whose `label` is missing (-1) become
    unlabeled. `validation` is dev, `unsupervised` is unlabeled. The package itself isn't needed.

    Args:
        data: one table, which is learned from and tested on, or tables by split.
        name: the task's.
        about: what a task.json would say.

    Raises:
        DataError: a split whose name isn't known, or a row that doesn't fit, as "train[2]".
    """
    tables = data if isinstance(data, Mapping) else {"train": data}
    rows: dict[Split, list[Row]] = {}
    labels: list[str] = []
    for given, table in tables.items():
        if given not in _SPLITS:
            raise DataError(
                f"no split `{given}`",
                hint=f"pass a mapping with the names {quoted(_SPLITS)}: {{'dev': data['{given}']}}",
            )
        split = _SPLITS[given]
        labels = labels or _names(_features(table).get("label"))
        for row in _named_rows(table):
            missing = "label" in row and row["label"] is None
            kept = {column: value for column, value in row.items() if column != "label"}
            rows.setdefault("unlabeled" if missing else split, []).append(kept if missing else row)
    said = {"labels": labels} if labels else {}
    whole: dict[Split, Lines] = {split: from_rows(split, rows[split]) for split in rows if split != "unlabeled"}
    if "unlabeled" in rows:
        bare = [{column: row[column] for column in row if column != "label"} for row in rows["unlabeled"]]
        whole["unlabeled"] = from_rows("unlabeled", bare)
    return assemble(whole, read_about({**said, **(about or {})}, "about"), name)


def _pocket() -> Path:
    return Path(str(files("promptatlas").joinpath("pocket").joinpath("tasks")))


def _files(folder: Path) -> dict[str, Path]:
    return {path.name: path for path in sorted(folder.iterdir()) if path.stem in _SPLITS and path.suffix in SUFFIXES}


def _read_folder(folder: Path) -> Task:
    tables: dict[Split, Lines] = {}
    found: dict[Split, Path] = {}
    for path in _files(folder).values():
        split = _SPLITS[path.stem]
        if split in found:
            raise DataError(f"{folder}: two files for {split}, `{found[split].name}` and `{path.name}`")
        found[split] = path
    if not found:
        raise DataError(
            f"{folder}: no train, dev, test or unlabeled file",
            hint="a task's folder has a file a split: train.jsonl, test.csv, unlabeled.tsv",
        )
    said = folder / "task.json"
    about = read_about(read_object(read_text(said), str(said)), str(said)) if said.exists() else About()
    for split, path in found.items():
        tables[split] = read_file(path)
    return assemble(tables, about, folder.resolve().name)


@runtime_checkable
class _Table(Protocol):
    features: Any


@runtime_checkable
class _ClassLabel(Protocol):
    names: list[str]


@runtime_checkable
class _Listed(Protocol):
    feature: Any


def _features(table: object) -> Mapping[str, object]:
    return table.features if isinstance(table, _Table) and isinstance(table.features, Mapping) else {}


def _names(feature: object) -> list[str]:
    """The names of a ClassLabel, or of the ClassLabel a list is of."""
    if isinstance(feature, _Listed):
        return _names(feature.feature)
    return list(feature.names) if isinstance(feature, _ClassLabel) else []


def _named_rows(table: object) -> Iterator[Row]:
    if not isinstance(table, Iterable):
        raise DataError(f"a {type(table).__name__} is no table of rows")
    names = {column: listed for column, feature in _features(table).items() if (listed := _names(feature))}
    for row in table:
        yield {column: _named(value, names[column]) if column in names else value for column, value in row.items()}


def _named(value: object, names: list[str]) -> object:
    if isinstance(value, list):
        return [_named(item, names) for item in value]
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else None
