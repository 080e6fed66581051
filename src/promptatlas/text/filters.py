"""From a field's value to its text: the closed list of filters.

A text is shown as it is and a number as `str` writes it. Anything else needs a filter that reads it, `join` or `json`,
so that no container is ever shown by accident the way Python spells it. `FILTERS` is all there are:

    >>> for kind in FILTERS.values():
    ...     print(f"{kind.written:<12} {kind.does}")
    lower        all letters in lower case
    upper        all letters in upper case
    capital      the first character in upper case
    uncapital    the first character in lower case
    strip        without the blanks at both ends
    cut(40)      the first so many characters
    words(20)    the first so many words, and the blanks between them
    stop         with . at the end (。 after Chinese or Japanese), unless one of .!?。！？ is there
    unstop       without the last of .!?。！？ at the end
    join(", ")   a list's items with this text between them
    json         any value as compact JSON, letters of all scripts as they are

    >>> shown("text", "A fine film. ", (Filter("unstop"), Filter("uncapital")))
    'a fine film'
"""

import json
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Final, Literal

from promptatlas.errors import TemplateError, near

MARKS: Final = (".", "!", "?", "。", "！", "？")
MOST: Final = 999_999_999  # so that a count stays short enough to be read and written as it is
SCRIPTS: Final = ("CJK", "IDEOGRAPHIC", "HIRAGANA", "KATAKANA")  # whose texts end in 。
ESCAPES: Final[Mapping[str, str]] = {'"': '"', "\\": "\\", "n": "\n", "t": "\t"}


def _cut(text: str, most: int) -> str:
    return text[:most]


def _words(text: str, most: int) -> str:
    ends = [word.end() for word in islice(re.finditer(r"\S+", text), most)]
    return text[: ends[-1]] if len(ends) == most else text


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _uncapital(text: str) -> str:
    return text[:1].lower() + text[1:]


def _stop(text: str) -> str:
    """Blanks at the end don't count, and go where something is added; an empty text stays so."""
    said = text.rstrip()
    if not said or said.endswith(MARKS):
        return text
    last = next((character for character in reversed(said) if character.isalpha()), "a")
    return said + ("。" if unicodedata.name(last, "").startswith(SCRIPTS) else ".")


def _unstop(text: str) -> str:
    """Blanks at the end don't count, and go with the mark."""
    said = text.rstrip()
    return said[:-1] if said.endswith(MARKS) else text


def _join(items: tuple[str, ...], between: str) -> str:
    return between.join(items)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


@dataclass(frozen=True)
class Kind:
    """A filter there is.

    Attributes:
        written: an example of how it is written.
        does: what it makes of a value, in words.
        run: the function itself, of the value and, where it takes one, the argument.
        reads: "text" (numbers too), "list" (of texts and numbers) or "any".
        argument: `int` for a count from 1, `str` for a text in double quotes, None where it takes nothing.
    """

    written: str
    does: str
    run: Callable[..., str]
    reads: Literal["text", "list", "any"] = "text"
    argument: type[int] | type[str] | None = None

    @property
    def wants(self) -> str:
        """What stands in its parentheses, in words."""
        return f"a whole number from 1 to {MOST}" if self.argument is int else "a text in double quotes"

    def fits(self, argument: int | str | None) -> bool:
        """Whether it can stand there; `True` is no number."""
        return type(argument) is self.argument and (not isinstance(argument, int) or 1 <= argument <= MOST)


FILTERS: Final[Mapping[str, Kind]] = {
    "lower": Kind("lower", "all letters in lower case", str.lower),
    "upper": Kind("upper", "all letters in upper case", str.upper),
    "capital": Kind("capital", "the first character in upper case", _capital),
    "uncapital": Kind("uncapital", "the first character in lower case", _uncapital),
    "strip": Kind("strip", "without the blanks at both ends", str.strip),
    "cut": Kind("cut(40)", "the first so many characters", _cut, argument=int),
    "words": Kind("words(20)", "the first so many words, and the blanks between them", _words, argument=int),
    "stop": Kind("stop", "with . at the end (。 after Chinese or Japanese), unless one of .!?。！？ is there", _stop),
    "unstop": Kind("unstop", "without the last of .!?。！？ at the end", _unstop),
    "join": Kind('join(", ")', "a list's items with this text between them", _join, reads="list", argument=str),
    "json": Kind("json", "any value as compact JSON, letters of all scripts as they are", _json, reads="any"),
}


def kind_of(name: str) -> Kind:
    """The filter of this name.

    Raises:
        TemplateError: there is none; the hint has near names, or all.
    """
    if name not in FILTERS:
        raise TemplateError(f"there is no filter `{name}`", hint=near(name, FILTERS))
    return FILTERS[name]


@dataclass(frozen=True)
class Filter:
    r"""A filter where it is used, with its argument.

    >>> str(Filter("join", ' "and"\n'))
    'join(" \\"and\\"\\n")'
    """

    name: str
    argument: int | str | None = None

    def __post_init__(self) -> None:
        """Refuse a name there isn't, and an argument it doesn't take."""
        kind = kind_of(self.name)
        if kind.argument is None:
            if self.argument is not None:
                raise TemplateError(f"`{self.name}` takes nothing in parentheses", hint=f"write `{kind.written}`")
        elif not kind.fits(self.argument):
            given = "nothing" if self.argument is None else f"`{_spelled(self.argument)}`"
            raise TemplateError(f"`{self.name}` takes {kind.wants}, not {given}", hint=f"as in `{kind.written}`")

    def __str__(self) -> str:
        """As it is written in a template."""
        return self.name if self.argument is None else f"{self.name}({_spelled(self.argument)})"


def _spelled(argument: int | str) -> str:
    if not isinstance(argument, str):
        return str(argument)
    spelling = {character: f"\\{letter}" for letter, character in ESCAPES.items()}
    return '"' + "".join(spelling.get(character, character) for character in argument) + '"'


def shown(name: str, value: object, filters: tuple[Filter, ...] = ()) -> str:
    """The text of a field.

    Args:
        name: the field, for messages.
        value: what it holds.
        filters: applied from left to right.

    Raises:
        TemplateError: a value that isn't a text or a number and has no filter that reads it.

    >>> shown("cast", ["Ada", "Bo"], (Filter("join", " & "), Filter("upper")))
    'ADA & BO'
    """
    what = f"field `{name}`"
    for one in filters:
        kind = FILTERS[one.name]
        if kind.reads == "text":
            value = _text(what, value, _ways(name, value))
        elif kind.reads == "list":
            value = _list(what, value, one.name)
        arguments = () if one.argument is None else (one.argument,)
        try:
            value = kind.run(value, *arguments)
        except (TypeError, ValueError, RecursionError) as problem:  # of `json`: others can't fail on what they read
            hint = "JSON has texts, numbers, true, false, null, lists, and objects named by texts"
            raise TemplateError(f"{what} can't be written as JSON: {problem}", hint=hint) from None
    return _text(what, value, _ways(name, value))


def items(name: str, value: object) -> tuple[str, ...]:
    """The items of a field shown item by item.

    Raises:
        TemplateError: a value that isn't a list or tuple; an item that isn't a text or number, or is blank, for a slot
            stands at the first piece of each, and a blank has none.

    >>> items("tokens", ["Rain", "on", 5, "May"])
    ('Rain', 'on', '5', 'May')
    """
    found = _list(f"field `{name}`", value, ":each")
    for number, item in enumerate(found, 1):
        if not item.strip():
            hint = "drop it, and its tag, where the data is read"
            raise TemplateError(f"item {number} of field `{name}` is blank", hint=hint)
    return found


def _list(what: str, value: object, reader: str) -> tuple[str, ...]:
    hint = f"`{reader}` reads a list of texts and numbers"
    if not isinstance(value, list | tuple):
        raise TemplateError(f"{what} is of type `{type(value).__name__}`, not a list", hint=hint)
    return tuple(_text(f"item {number} of {what}", item, hint) for number, item in enumerate(value, 1))


def _text(what: str, value: object, hint: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):  # True is no number, and English besides
        return str(value)
    raise TemplateError(f"{what} is of type `{type(value).__name__}`, not a text", hint=hint)


def _ways(name: str, value: object) -> str:
    join = f'`{{{name}|join(", ")}}` or ' if isinstance(value, list | tuple) else ""
    return f"show it by {join}`{{{name}|json}}`"
