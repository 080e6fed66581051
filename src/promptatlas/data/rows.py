"""Rows: the lines of splits -> a Task."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from promptatlas.data.about import About
from promptatlas.data.example import Example, Target
from promptatlas.data.lines import Line, Lines
from promptatlas.data.target import COLUMNS, LISTED, kind_of, target_of, texts_of
from promptatlas.data.task import METRICS, Kind, Task, quoted
from promptatlas.errors import DataError, near
from promptatlas.text.pattern import numeral

Split = Literal["train", "dev", "test", "unlabeled"]

_LABELLED: tuple[Split, ...] = ("train", "dev", "test")


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """How lines become examples."""

    kind: Kind
    fields: tuple[str, ...]
    targets: Mapping[Split, str]  # the column of each labelled split
    about: About


def assemble(splits: Mapping[Split, Lines], about: About, name: str) -> Task:
    """The task that lines in splits make, and what is said of it.

    Fields are those every split has, targets apart, or those `about` names. Labels stand in the order `about` gives
    them in, and no other is taken; else they are all that occur, sorted. A task whose only split is `train` is also
    tested on it. The n-th example of train has the key "train:n".

    Raises:
        DataError: the lines make no task; with file and line.
    """
    labelled: dict[Split, Lines] = {split: splits[split] for split in _LABELLED if split in splits}
    if not labelled:
        raise DataError(f"{name}: only unlabeled rows", hint="a task has a train or a test split")
    first = next(iter(labelled.values()))
    kind = about.kind or kind_of(first.columns)
    if kind is None:
        raise _no_column(
            first, tuple(dict.fromkeys(column for columns in COLUMNS.values() for column in columns)), target=True
        )
    if about.metric and about.metric not in METRICS[kind]:
        raise DataError(
            f"{name}: no metric `{about.metric}` for tasks of kind {kind}", hint=near(about.metric, METRICS[kind])
        )
    targets = {split: _target_column(kind, lines) for split, lines in labelled.items()}
    plan = _Plan(kind=kind, fields=_fields(kind, splits, about), targets=targets, about=about)
    examples = {split: _examples(plan, split, lines) for split, lines in splits.items()}
    labels = _labels(plan, examples)
    if kind == "label" and len(labels) < 2:
        raise DataError(
            f"{first.where}: every row has the label `{labels[0]}`",
            hint="a task has two labels or more; task.json may list them under `labels`",
        )
    if set(splits) == {"train"}:
        examples["test"] = examples["train"]
    return _task(plan, examples, labels, name)


def _task(plan: _Plan, examples: Mapping[Split, tuple[Example, ...]], labels: tuple[str, ...], name: str) -> Task:
    about = plan.about
    short = plan.kind == "text" and "answer" in plan.targets.values()  # right or wrong; BLEU is for passages
    low, high = _range(plan, examples)
    return Task(
        name=about.name or name,
        kind=plan.kind,
        fields=plan.fields,
        labels=labels,
        train=examples.get("train", ()),
        dev=examples.get("dev", ()),
        test=examples.get("test", ()),
        unlabeled=examples.get("unlabeled", ()),
        metric=about.metric or (_right(examples) if short else ""),
        template=about.template or ("{tokens:each}" if plan.kind == "tags" else None),
        words=about.words,
        none=about.none,
        description=about.description,
        low=low,
        high=high,
    )


def _right(examples: Mapping[Split, tuple[Example, ...]]) -> str:
    """The metric of short answers: whether they are the same number where all are numbers, else the same text."""
    numbers = (numeral(str(one.target)) for split in _LABELLED for one in examples.get(split, ()))
    return "exact_match" if None in numbers else "number_match"


def _target_column(kind: Kind, lines: Lines) -> str:
    needed = LISTED.get(kind)
    if needed and needed not in lines.columns:
        raise _no_column(lines, (needed,), target=False)
    for column in COLUMNS[kind]:
        if column in lines.columns:
            return column
    raise _no_column(lines, COLUMNS[kind], target=True)


def _no_column(lines: Lines, wanted: Sequence[str], *, target: bool) -> DataError:
    *most, last = (f"`{column}`" for column in wanted)
    either = f"{', '.join(most)} or {last}" if most else last
    return DataError(
        f"{lines.where}: no column {either}; there are {quoted(lines.columns)}",
        hint="rows without targets belong into the split `unlabeled`" if target else None,
    )


def _fields(kind: Kind, splits: Mapping[Split, Lines], about: About) -> tuple[str, ...]:
    tables = list(splits.values())
    needed = LISTED.get(kind)
    if about.fields is not None:
        for lines in tables:
            for name in about.fields:
                if name not in lines.columns:
                    raise _no_column(lines, (name,), target=False)
        if needed and needed not in about.fields:
            raise DataError(f"`fields` leaves out `{needed}`, which a task of kind {kind} needs")
        return about.fields
    hidden = set(COLUMNS[kind])
    fields = tuple(
        name for name in tables[0].columns if name not in hidden and all(name in lines.columns for lines in tables)
    )
    if not fields:
        raise DataError(
            f"{tables[0].where}: no field beside the target"
            if len(tables) == 1
            else f"no field stands in all of {quoted(lines.where for lines in tables)}",
        )
    if needed and needed not in fields:
        raise _no_column(next(lines for lines in tables if needed not in lines.columns), (needed,), target=False)
    return fields


def _examples(plan: _Plan, split: Split, lines: Lines) -> tuple[Example, ...]:
    column = plan.targets.get(split)
    known = frozenset(plan.about.labels or ())
    examples = []
    for number, line in enumerate(lines.lines, 1):
        target = target_of(plan.kind, line, column) if column else None
        for label in _named(plan.kind, target) if known else ():
            if label not in known:
                raise DataError(
                    f"{line.where}: label `{label}` is not one of {quoted(plan.about.labels or ())}",
                    hint=near(label, known),
                )
        if isinstance(target, float):
            _check_range(plan.about, target, line)
        examples.append(Example(_shown(plan, line), target, f"{split}:{number}"))
    return tuple(examples)


def _shown(plan: _Plan, line: Line) -> dict[str, object]:
    fields = {name: line.values[name] for name in plan.fields}
    listed = LISTED.get(plan.kind)
    if listed:
        fields[listed] = texts_of(fields[listed], listed, line.where)
    return fields


def _named(kind: Kind, target: Target) -> Iterable[str]:
    """The labels a target names."""
    if isinstance(target, str):
        return (target,) if kind == "label" else ()
    return target if kind in ("labels", "tags") and isinstance(target, frozenset | tuple) else ()


def _labels(plan: _Plan, examples: Mapping[Split, tuple[Example, ...]]) -> tuple[str, ...]:
    if plan.about.labels is not None:
        return plan.about.labels
    found = {label for split in examples.values() for example in split for label in _named(plan.kind, example.target)}
    return tuple(sorted(found))


def _check_range(about: About, number: float, line: Line) -> None:
    if about.low is not None and number < about.low:
        raise DataError(f"{line.where}: {number:g} is below the lowest, {about.low:g}")
    if about.high is not None and number > about.high:
        raise DataError(f"{line.where}: {number:g} is above the highest, {about.high:g}")


def _range(plan: _Plan, examples: Mapping[Split, tuple[Example, ...]]) -> tuple[float | None, float | None]:
    """The lowest and highest a number can be: as said, else as seen."""
    low, high = plan.about.low, plan.about.high
    if plan.kind == "number":
        seen = [one.target for split in examples.values() for one in split if isinstance(one.target, float)]
        low, high = (min(seen) if low is None else low), (max(seen) if high is None else high)
    return low, high
