"""As many demonstrations as the context holds, or fields cut so that it holds as many as are wanted."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

from promptatlas.data.example import Example
from promptatlas.errors import TooLong
from promptatlas.lm.lm import LM
from promptatlas.text.filters import Filter, shown
from promptatlas.text.pieces import FieldPiece, SlotPiece, TextPiece
from promptatlas.text.template import Template

Drop = Literal["first", "last"]

MARKS = 4  # tokens a row has beside fields and words: marks, and what stands between two


def shrink(demos: list[Example], fits: Callable[[list[Example]], bool], drop: Drop) -> list[Example]:
    """The longest run of demonstrations that fits: all of them but some at one end; none where not even one fits.

    Args:
        demos: in the order shown.
        fits: whether a prompt that shows these fits; one that shows fewer takes less room.
        drop: the end they are dropped from: "first" drops the oldest, "last" those next to the query.

    >>> shrink([Example(key="a"), Example(key="b")], lambda shown: len(shown) < 2, "first")
    [Example(fields={}, target=None, key='b')]
    """
    if fits(demos):
        return demos
    kept, over = 0, len(demos)  # none always fit, all don't
    while over - kept > 1:
        count = (kept + over) // 2
        if fits(_end(demos, count, drop)):
            kept = count
        else:
            over = count
    return _end(demos, kept, drop)


def capped(template: Template, lm: LM, examples: Sequence[Example], count: int) -> Template:
    """The template, its fields cut to so many characters that `count` of these examples fit the window together.

    It is left as it is where they fit in any case. Fields share the room alike; those marked `!` are not cut.

    Raises:
        TooLong: the window doesn't even hold the template so often.
    """
    text = "".join(piece.text for piece in template.pieces if isinstance(piece, TextPiece))
    slots = sum(isinstance(piece, SlotPiece) for piece in template.pieces)
    room = lm.window // count - len(lm.tokens(text)) - slots - MARKS
    fields = [piece for piece in template.pieces if isinstance(piece, FieldPiece)]
    sizes = {piece: [len(lm.tokens(_shown(piece, one))) for one in examples] for piece in fields}
    if max(map(sum, zip(*sizes.values(), strict=True)), default=0) <= room:
        return template
    each = room // max(1, len(fields))
    if each < 1:
        raise TooLong(
            f"{lm.name} has a window of {lm.window} tokens, too few to show `{template}` {count} times",
            hint="shorten the template, or show no demonstrations",
        )
    pieces = [
        _cut(piece, lm, examples, each) if isinstance(piece, FieldPiece) and not piece.keep and max(sizes[piece]) > each
        else piece
        for piece in template.pieces
    ]  # fmt: skip
    return Template(tuple(pieces))


def _cut(piece: FieldPiece, lm: LM, examples: Sequence[Example], most: int) -> FieldPiece:
    """With a filter under which none of the examples has more tokens there."""

    def fitting(text: str) -> int:
        return bisect_right(range(len(text) + 1), most, key=lambda end: len(lm.tokens(text[:end]))) - 1

    texts = [_shown(piece, one) for one in examples]
    end = min(fitting(text) for text in texts if len(lm.tokens(text)) > most)
    return replace(piece, filters=(*piece.filters, Filter("cut", max(1, end))))


def _shown(piece: FieldPiece, example: Example) -> str:
    return shown(piece.name, example.fields.get(piece.name, ""), piece.filters)


def _end(demos: list[Example], count: int, drop: Drop) -> list[Example]:
    return demos[:count] if drop == "last" else demos[len(demos) - count :]
