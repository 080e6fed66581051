"""Values of settings: checked against a field's annotation, and read from text."""

import json
import math
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin

from promptatlas.errors import SettingError

TRUE, FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")

_UNFIT: Final = object()


def checked(setting: str, hint: Any, value: object) -> Any:
    """A value as a setting annotated so keeps it: an int becomes a float where that is wanted, a list a tuple.

    Raises:
        SettingError: it isn't of the type; the hint says what is.
    """
    for option in _options(hint):
        fitted = _fit(option, value)
        if fitted is not _UNFIT:
            return fitted
    raise SettingError(f"`{setting}` can't be {value!r}", hint=f"it takes {described(hint)}")


def read(setting: str, hint: Any, text: str) -> Any:
    """The value a text stands for: `3`, `0.1`, `true`, `none`, a word, `1,2,3` or JSON.

    Raises:
        SettingError: it is no such value; the hint says what is.
    """
    for option in sorted(_options(hint), key=lambda option: option is str):  # any text is a string, so that comes last
        value = _read(option, text)
        fitted = _UNFIT if value is _UNFIT else _fit(option, value)
        if fitted is not _UNFIT:
            return fitted
    raise SettingError(f"`{setting}` can't be `{text}`", hint=f"it takes {described(hint)}")


def split(hint: Any, text: str) -> tuple[str, ...]:
    """Several values in one text, between commas; one value where a comma may be part of it."""
    whole = any(option is str or get_origin(option) not in (None, Literal) for option in _options(hint))
    return (text,) if whole else tuple(one.strip() for one in text.split(","))


def described(hint: Any) -> str:
    """An annotation in words."""
    return " or ".join(_described(option) for option in _options(hint))


def _options(hint: Any) -> tuple[Any, ...]:
    """What a value may be: the members of a union, each value of a Literal."""
    if get_origin(hint) in (Union, UnionType):
        return tuple(one for member in get_args(hint) for one in _options(member))
    return (hint,)


def _described(option: Any) -> str:
    names = {NoneType: "none", bool: "true or false", int: "an integer", float: "a number", str: "a text"}
    if get_origin(option) is Literal:
        return " or ".join(f"`{one}`" for one in get_args(option))
    if _listed(option):
        first, *others = (one for one in get_args(option) if one is not Ellipsis)
        each = ", then ".join(map(described, (first, *others))) if others else f"each {described(first)}"
        return f"a list: {each}"
    if get_origin(option) is not None:
        return str(option)
    return names.get(option, f"a {getattr(option, '__name__', option)}")


def _listed(option: Any) -> bool:
    return isinstance(get_origin(option), type) and issubclass(get_origin(option), Sequence)


def _fit(option: Any, value: object) -> Any:
    if option is NoneType:
        return None if value is None else _UNFIT
    if option is bool:
        return value if isinstance(value, bool) else _UNFIT
    if option is int:
        return int(value) if isinstance(value, Integral) and not isinstance(value, bool) else _UNFIT
    if option is float:
        real = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
        return float(value) if real else _UNFIT  # type: ignore[arg-type]
    if get_origin(option) is Literal:
        return value if any(value == one and type(value) is type(one) for one in get_args(option)) else _UNFIT
    if _listed(option):
        return _fit_each(option, value)
    return _fit_other(option, value)


def _fit_each(option: Any, value: object) -> Any:
    if isinstance(value, str) or not isinstance(value, Sequence):
        return _UNFIT
    members = _members(option, len(value))
    if len(members) != len(value):
        return _UNFIT
    fitted = [
        next((fit for some in _options(member) if (fit := _fit(some, one)) is not _UNFIT), _UNFIT)
        for member, one in zip(members, value, strict=True)
    ]
    return _UNFIT if _UNFIT in fitted else tuple(fitted)


def _members(option: Any, count: int) -> Sequence[Any]:
    """What each of `count` values may be: tuple[X, ...] and Sequence[X] are as long as wanted, tuple[X, Y] isn't."""
    members = get_args(option)
    return members if get_origin(option) is tuple and Ellipsis not in members else (members[0],) * count


def _fit_other(option: Any, value: object) -> Any:
    kind = get_origin(option) or option
    try:
        return value if isinstance(value, kind) else _UNFIT
    except TypeError:  # a protocol, which can't be asked: the method finds out
        return value


def _read(option: Any, text: str) -> Any:
    if option is NoneType:
        return None if text.lower() in ("none", "null") else _UNFIT
    if option is bool:
        return True if text.lower() in TRUE else False if text.lower() in FALSE else _UNFIT
    if option in (int, float):
        try:
            number = option(text)
        except ValueError:
            return _UNFIT
        return number if math.isfinite(number) else _UNFIT
    if get_origin(option) is Literal:
        return next((one for one in get_args(option) if str(one) == text), _UNFIT)
    if _listed(option):
        return _read_each(option, text)
    if option is str:
        return text
    return _json(text, (Mapping,)) if get_origin(option) is not None else _UNFIT


def _read_each(option: Any, text: str) -> Any:
    if text.startswith("["):
        return _json(text, (list,))
    pieces = [piece.strip() for piece in text.split(",")] if text.strip() else []
    members = _members(option, len(pieces))
    values = [
        next((got for some in _options(member) if (got := _read(some, piece)) is not _UNFIT), _UNFIT)
        for member, piece in zip(members, pieces, strict=False)
    ]
    return _UNFIT if _UNFIT in values or len(values) != len(pieces) else tuple(values)


def _json(text: str, kinds: tuple[type, ...]) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        return _UNFIT
    return value if isinstance(value, kinds) else _UNFIT
