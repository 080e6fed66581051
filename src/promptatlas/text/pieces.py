"""The pieces a template is made of.

Each is a frozen value, refuses what could not be written, and prints itself as it is written.

    >>> str(FieldPiece("text", keep=True, filters=(Filter("lower"), Filter("cut", 40))))
    '{text!|lower|cut(40)}'
    >>> "".join(map(str, (TextPiece("{a} set: "), SlotPiece("subject"), PartPiece("soft"))))
    '{{a}} set: {mask:subject}{@soft}'
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from promptatlas.errors import TemplateError
from promptatlas.text.filters import Filter

MARKS: Final = ("start", "sep", "end")
RESERVED: Final = ("mask", "demos", "label", *MARKS)
RENAME: Final = "is a word of the template language; a column of that name is renamed where the data is read"


def check_name(name: str) -> None:
    """Raise TemplateError unless `name` can name a field, slot or part."""
    if not name.isidentifier():
        hint = "a name is letters of any script, digits and `_`, no digit first; rename a column where the data is read"
        raise TemplateError(f"`{name}` is not a name", hint=hint)


def _check_field(name: str) -> None:
    check_name(name)
    if name in RESERVED:
        raise TemplateError(f"`{name}` can't be a field", hint=f"`{name}` {RENAME}")


@dataclass(frozen=True)
class TextPiece:
    """The template's own words."""

    text: str

    def __str__(self) -> str:
        """The text, its braces doubled."""
        return self.text.replace("{", "{{").replace("}", "}}")


@dataclass(frozen=True)
class FieldPiece:
    """A field of the example; cut to fit unless `keep`."""

    name: str
    keep: bool = False
    filters: tuple[Filter, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a name that can't be a field's."""
        _check_field(self.name)

    def __str__(self) -> str:
        """`{text}`, `{text!}`, `{text|lower|cut(40)}`."""
        return "{" + "|".join([self.name + "!" * self.keep, *map(str, self.filters)]) + "}"


@dataclass(frozen=True)
class EachPiece:
    """The items of a list field, a slot at the first piece of each."""

    name: str
    keep: bool = False

    def __post_init__(self) -> None:
        """Refuse a name that can't be a field's."""
        _check_field(self.name)

    def __str__(self) -> str:
        """`{tokens:each}`, `{tokens!:each}`."""
        return "{" + self.name + "!" * self.keep + ":each}"


@dataclass(frozen=True)
class SlotPiece:
    """Where an answer is read; its name is "" where it is the only one."""

    name: str = ""

    def __post_init__(self) -> None:
        """Refuse what isn't a name."""
        if self.name:
            check_name(self.name)

    def __str__(self) -> str:
        """`{mask}`, `{mask:subject}`."""
        return f"{{mask:{self.name}}}" if self.name else "{mask}"


@dataclass(frozen=True)
class PartPiece:
    """Where a part stands, as long as that part is."""

    name: str

    def __post_init__(self) -> None:
        """Refuse what isn't a name."""
        check_name(self.name)

    def __str__(self) -> str:
        """`{@soft}`."""
        return f"{{@{self.name}}}"


@dataclass(frozen=True)
class MarkPiece:
    """One of the tokenizer's own marks."""

    mark: str

    def __post_init__(self) -> None:
        """Refuse a mark there isn't."""
        if self.mark not in MARKS:
            raise TemplateError(f"there is no mark `{self.mark}`", hint="there are `start`, `sep`, `end`")

    def __str__(self) -> str:
        """`{start}`, `{sep}`, `{end}`."""
        return f"{{{self.mark}}}"


@dataclass(frozen=True)
class DemosPiece:
    """Where demonstrations go."""

    def __str__(self) -> str:
        """`{demos}`."""
        return "{demos}"


@dataclass(frozen=True)
class LabelPiece:
    """The label's word, as text."""

    def __str__(self) -> str:
        """`{label}`."""
        return "{label}"


Piece = TextPiece | FieldPiece | EachPiece | SlotPiece | PartPiece | MarkPiece | DemosPiece | LabelPiece
Pieces = tuple[Piece, ...]


def joined(pieces: Iterable[Piece]) -> Pieces:
    """The same pieces in their one form: texts that touch are one, and none is empty.

    >>> joined([TextPiece("It "), TextPiece("was "), SlotPiece(), TextPiece("")])
    (TextPiece(text='It was '), SlotPiece(name=''))
    """
    done: list[Piece] = []
    for piece in pieces:
        last = done[-1] if done else None
        if isinstance(piece, TextPiece) and isinstance(last, TextPiece):
            done[-1] = TextPiece(last.text + piece.text)
        elif piece != TextPiece(""):
            done.append(piece)
    return tuple(done)


def check_place(pieces: Pieces, index: int) -> None:
    """Raise TemplateError where the piece at `index` can't stand together with those before it."""
    piece, ahead = pieces[index], pieces[:index]
    if isinstance(piece, DemosPiece) and index == len(pieces) - 1:
        raise TemplateError("nothing stands after `{demos}`", hint="a demonstration is the stretch after it")
    if isinstance(piece, DemosPiece | SlotPiece | EachPiece) and piece in ahead:
        hint = "name each slot, as in `{mask:a}` and `{mask:b}`" if isinstance(piece, SlotPiece) else "leave one out"
        raise TemplateError(f"`{piece}` stands here a second time", hint=hint)
    if isinstance(piece, SlotPiece | EachPiece):
        for other in ahead:
            if isinstance(other, EachPiece) or (isinstance(other, SlotPiece) and isinstance(piece, EachPiece)):
                raise TemplateError(f"`{piece}` can't stand beside `{other}`", hint="leave one out")
