"""About: what `task.json` says of a task, checked."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from promptatlas.data.lines import json_name
from promptatlas.data.task import KINDS, METRICS, Kind
from promptatlas.errors import DataError, SettingError, TemplateError, near
from promptatlas.text.compose import Rule, compose, phrases


@dataclass(frozen=True, kw_only=True)
class About:
    """What is said of a task beside its examples; None and "" where nothing is. The names are those of `Task`."""

    name: str = ""
    kind: Kind | None = None
    labels: tuple[str, ...] | None = None
    fields: tuple[str, ...] | None = None
    metric: str = ""
    template: str | None = None
    words: Mapping[str, tuple[str, ...]] | None = None
    none: str = ""
    description: str = ""
    low: float | None = None
    high: float | None = None


def read_about(values: Mapping[str, object], where: str) -> About:
    """Check what `task.json` holds. `licence` and `made` are notes for people.

    Raises:
        DataError: a key that isn't known, or a value of another type than its key's.
    """
    for key in values:
        if key not in _READERS and key not in _NOTES:
            raise DataError(f"{where}: no key `{key}`", hint=near(key, [*_READERS, *_NOTES]))
    read = {key: _READERS[key](value, f"{where}: `{key}`") for key, value in values.items() if key in _READERS}
    about = About(**read)  # type: ignore[arg-type]
    if about.metric and about.kind and about.metric not in METRICS[about.kind]:
        raise DataError(
            f"{where}: no metric `{about.metric}` for tasks of kind {about.kind}",
            hint=near(about.metric, METRICS[about.kind]),
        )
    if about.kind == "label" and about.labels is not None and len(about.labels) < 2:
        raise DataError(f"{where}: `labels` has fewer than two labels")
    return about


def _string(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise DataError(f"{where} is {json_name(value)}, not a string")
    return value


def _kind(value: object, where: str) -> Kind:
    kind = _string(value, where)
    if kind not in KINDS:
        raise DataError(f"{where} is `{kind}`, which is no kind of task", hint=near(kind, KINDS))
    return kind


def _number(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DataError(f"{where} is {json_name(value)}, not a number")
    return float(value)


def _listed(value: object, where: str) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise DataError(f"{where} is {json_name(value)}, not a list of strings")
    return tuple(str(item) if type(item) is int else _string(item, f"an item of {where}") for item in value)


def _strings(value: object, where: str) -> tuple[str, ...]:
    names = _listed(value, where)
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"{where} has `{name}` twice")
    return names


def _words(value: object, where: str) -> dict[str, tuple[str, ...]]:
    if not isinstance(value, Mapping):
        raise DataError(f"{where} is {json_name(value)}, not label words by label")
    rules: dict[str, Rule] = {
        str(label): words if isinstance(words, str | Mapping) else _listed(words, f"{where} of `{label}`")
        for label, words in value.items()
    }
    try:
        return phrases(rules)
    except SettingError as error:
        raise DataError(f"{where}: {error.message}", hint=error.hint) from None


def _template(value: object, where: str) -> str:
    """A template, or sub-prompts that are joined to one."""
    if isinstance(value, str):
        return value
    try:
        return str(compose(_listed(value, where)))
    except TemplateError as error:
        raise DataError(f"{where}: {error.message}", hint=error.hint) from None


_READERS: Mapping[str, Callable[[object, str], object]] = {
    "name": _string,
    "kind": _kind,
    "labels": _strings,
    "fields": _strings,
    "metric": _string,
    "template": _template,
    "words": _words,
    "none": _string,
    "description": _string,
    "low": _number,
    "high": _number,
}
_NOTES = ("licence", "made")
