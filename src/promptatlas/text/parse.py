r"""From the text of a template to its pieces.

There is one way to write each template, so what is read prints back letter for letter, its columns unchanged. Reading
goes forward once, over regular expressions that never go back; nothing is evaluated.

    >>> read("It was {mask}.")
    (TextPiece(text='It was '), SlotPiece(name=''), TextPiece(text='.'))
    >>> read("It was {mask")
    Traceback (most recent call last):
    promptatlas.errors.TemplateError: column 8 of `It was {mask`: `{` is never closed
    <BLANKLINE>
    hint: close it with `}`, or write `{{` for a brace that is text
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from promptatlas.errors import TemplateError, near
from promptatlas.text.filters import ESCAPES, FILTERS, Filter, kind_of
from promptatlas.text.pieces import (
    MARKS,
    RENAME,
    DemosPiece,
    EachPiece,
    FieldPiece,
    LabelPiece,
    MarkPiece,
    PartPiece,
    Piece,
    Pieces,
    SlotPiece,
    TextPiece,
    check_name,
)

TEXT: Final = re.compile(r"(?:[^{}]|\{\{|\}\})++")
BRACES: Final = re.compile(r'\{(?:[^{}"]|"(?:[^"\\]|\\.)*+")*+', re.DOTALL)  # up to the closing `}` if all is well
WORD: Final = re.compile(r'[^\s!|:@(),"{}]*+')
COUNT: Final = re.compile(r"[1-9][0-9]{0,8}")
QUOTED: Final = re.compile(r'"(?:[^"\\\n\t]|\\["\\nt])*+')  # up to the closing `"` if all is well
BRACE: Final = "for a brace that is text"
INSIDE: Final = (
    "braces hold a field's name, `mask`, `@` and a part's name, `demos`, `label`, `start`, `sep` or `end`, "
    f"write `{{{{` {BRACE}"
)
EACH: Final = "`{tokens:each}` is a slot at every item of a list"
ALONE: Final[Mapping[str, Piece]] = {
    "demos": DemosPiece(),
    "label": LabelPiece(),
    **{mark: MarkPiece(mark) for mark in MARKS},
}


def read(text: str) -> Pieces:
    """The pieces of a template's text.

    Raises:
        TemplateError: what is wrong, at which column, and what could stand there.
    """
    cursor = _Cursor(text)
    try:
        return tuple(_pieces(cursor))
    except TemplateError as problem:
        raise located(problem, text, cursor.at) from None


def located(problem: TemplateError, text: str, at: int) -> TemplateError:
    """The same error, saying that it is about the character `at` of this template.

    >>> print(located(TemplateError("no"), "x" * 100, 50).message)
    column 51 of `…xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…`: no
    """
    first, last = max(0, at - 40), at + 40
    quote = text[first:last].replace("\n", "\\n").replace("\t", "\\t")
    quote = "…" * (first > 0) + quote + "…" * (last < len(text))
    return TemplateError(f"column {at + 1} of `{quote}`: {problem.message}", hint=problem.hint)


class _Cursor:
    """Where reading stands. It moves only past what is accepted: what is refused is what it stands at."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def sees(self, mark: str) -> bool:
        return self.text.startswith(mark, self.at)

    def takes(self, mark: str) -> bool:
        seen = self.sees(mark)
        self.at += len(mark) * seen
        return seen

    def needs(self, mark: str, possible: str, hint: str | None = None) -> None:
        if not self.takes(mark):
            raise self.unexpected(possible, hint)

    def match(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self.text, self.at)
        return found[0] if found else ""

    def name(self, check: Callable[[str], object] = check_name, hint: str = INSIDE) -> str:
        word = self.match(WORD)
        if not word:
            raise self.unexpected("a name", hint)
        check(word)
        self.at += len(word)
        return word

    def unexpected(self, possible: str, hint: str | None = None) -> TemplateError:
        found = self.match(WORD) or self.text[self.at]
        if found.isspace():
            return TemplateError(f"a blank stands where {possible} could", hint="there are no blanks inside braces")
        return TemplateError(f"`{found}` stands where {possible} could", hint=hint)


def _pieces(cursor: _Cursor) -> Iterator[Piece]:
    while cursor.at < len(cursor.text):
        if text := cursor.match(TEXT):
            cursor.at += len(text)
            yield TextPiece(text.replace("{{", "{").replace("}}", "}"))
        elif cursor.sees("}"):
            raise TemplateError("`}` closes nothing", hint=f"write `}}}}` {BRACE}")
        else:
            yield _braces(cursor)


def _check_closed(cursor: _Cursor) -> None:
    inside = cursor.match(BRACES)
    end = cursor.at + len(inside)
    if not cursor.text.startswith("}", end):
        if cursor.text[end - 1 : end + 1] == '("':
            cursor.at = end
            raise TemplateError('`"` is never closed', hint='close it with `"`; inside, a quote is written `\\"`')
        raise TemplateError("`{` is never closed", hint=f"close it with `}}`, or write `{{{{` {BRACE}")
    if inside == "{":
        raise TemplateError("nothing stands between `{` and `}`", hint=INSIDE)


def _braces(cursor: _Cursor) -> Piece:
    _check_closed(cursor)  # so a `}` is ahead wherever reading stops
    cursor.takes("{")
    if cursor.takes("@"):
        part = PartPiece(cursor.name())
        cursor.needs("}", "`}`", "a part's length and settings are its own; the template says where it stands")
        return part
    name = cursor.name()
    if name == "mask":
        slot = SlotPiece(cursor.name(hint="a slot is named as in `{mask:subject}`") if cursor.takes(":") else "")
        cursor.needs("}", "`}`" if slot.name else "`:` or `}`", None if slot.name else f"`mask` {RENAME}")
        return slot
    if name in ALONE:
        cursor.needs("}", "`}`", f"`{name}` {RENAME}")
        return ALONE[name]
    return _field(cursor, name)


def _field(cursor: _Cursor, name: str) -> Piece:
    keep = cursor.takes("!")
    if cursor.takes(":"):
        cursor.name(_check_each, EACH)
        cursor.needs("}", "`}`", "items are shown as they are, without filters")
        return EachPiece(name, keep)
    possible = "`|`, `:each` or `}`" if keep else "`!`, `|`, `:each` or `}`"
    filters: list[Filter] = []
    while cursor.takes("|"):
        filters.append(_filter(cursor))
        possible = "`|` or `}`"
    late = filters and cursor.sees("!")
    cursor.needs("}", possible, f"`!` stands right after the name: `{{{name}!|{filters[0]}}}`" if late else None)
    return FieldPiece(name, keep, tuple(filters))


def _check_each(word: str) -> None:
    if word != "each":
        raise TemplateError(f"`{word}` stands where `each` could", hint=EACH)


def _filter(cursor: _Cursor) -> Filter:
    name = cursor.name(kind_of, f"after `|` stands a filter: {near('', FILTERS)}")
    kind = kind_of(name)
    if kind.argument is None:
        if cursor.sees("("):
            raise TemplateError(f"`{name}` takes nothing in parentheses", hint=f"write `{kind.written}`")
        return Filter(name)
    example = f"as in `{kind.written}`"
    cursor.needs("(", f"`(` and {kind.wants}", example)
    if cursor.sees('"'):
        filtered, length = _quoted(cursor, name)
    elif COUNT.fullmatch(word := cursor.match(WORD)):
        filtered, length = Filter(name, int(word)), len(word)
    else:
        raise cursor.unexpected(kind.wants, example)
    cursor.at += length
    cursor.needs(")", "`)`", example)
    return filtered


def _quoted(cursor: _Cursor, name: str) -> tuple[Filter, int]:
    good = cursor.match(QUOTED)
    end = cursor.at + len(good)
    stop = cursor.text[end]
    if stop != '"':
        cursor.at = end
        if stop == "\\":
            raise TemplateError("`\\` begins no escape", hint='there are `\\"`, `\\\\`, `\\n` and `\\t`')
        what, written = ("a line break", "`\\n`") if stop == "\n" else ("a tab", "`\\t`")
        raise TemplateError(f"{what} stands inside double quotes", hint=f"write it {written}")
    return Filter(name, re.sub(r"\\(.)", lambda escape: ESCAPES[escape[1]], good[1:])), len(good) + 1
