"""What a generator is shown of an example, and the template that comes of what it writes there.

Gao, Fisch & Chen 2021, arXiv:2012.15723, sec. 5.2.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from promptatlas.text.pieces import FieldPiece, LabelPiece, PartPiece, Piece, SlotPiece, TextPiece
from promptatlas.text.scripts import UNSPACED
from promptatlas.text.template import Template

REST = "rest"  # the second place to write at, behind the label's word
STOP = TextPiece(".")  # the end of another sentence, where nothing else stands before what is written


def layouts(fields: Sequence[str], words: Sequence[str], *, tail: bool = True) -> tuple[Template, ...]:
    """What a generator is shown: `{mask}` is the first place it writes at, `{@rest}` the second.

    Args:
        fields: of the task, in the order they are shown; of two or more, the first stands before the rest.
        words: the labels', by which it is told whether blanks part words.
        tail: whether text may follow the answer; a causal model can't see it.

    >>> [str(one) for one in layouts(["text"], ["great"])]
    ['{text|capital}{mask} {label}{@rest}', '.{mask} {label}{@rest} {text|capital}']
    >>> [str(one) for one in layouts(["premise", "hypothesis"], ["Yes"])]
    ['{premise|unstop}{mask} {label}{@rest} {hypothesis|uncapital}']
    >>> [str(one) for one in layouts(["a", "b"], ["yes"], tail=False)]
    ['{a|capital} {b|capital}{mask} {label}']
    """
    blank = "" if any(re.search(f"[{UNSPACED}]", word) for word in words) else " "
    first, *others = fields
    if not tail:
        shown = blank.join(f"{{{name}|capital}}" for name in fields)
        return (Template.parse(f"{shown}{{mask}}{blank}{{label}}"),)
    answer = f"{{mask}}{blank}{{label}}{{@{REST}}}"
    if others:
        rest = blank.join(f"{{{name}|uncapital}}" for name in others)
        return (Template.parse(f"{{{first}|unstop}}{answer}{blank}{rest}"),)
    shown = f"{{{first}|capital}}"
    return Template.parse(shown + answer), Template.parse(f".{answer}{blank}{shown}")


def filled(layout: Template, texts: Sequence[str]) -> Template:
    """The layout with these texts at its places, and a slot for the label's word.

    >>> str(filled(layouts(["text"], ["great"])[0], (" It was", ".")))
    '{text} It was {mask}.'
    >>> str(filled(layouts(["text"], ["great"])[1], (" A", " {one} .")))
    'A {mask} {{one}} . {text}'
    """
    pieces = [piece for piece in layout.pieces if piece != STOP]
    at: dict[Piece, Piece] = {
        SlotPiece(): TextPiece(texts[0]),
        PartPiece(REST): TextPiece(texts[-1]),
        LabelPiece(): SlotPiece(),
    }
    made: list[Piece] = [at.get(piece, piece) for piece in pieces]
    plain = [_plain(piece) if isinstance(piece, FieldPiece) else piece for piece in made]
    found = Template(tuple(plain)).pieces
    first = found[0]
    if isinstance(first, TextPiece):
        found = (TextPiece(first.text.lstrip(" ")), *found[1:])
    return Template(found)


def _plain(piece: FieldPiece) -> FieldPiece:
    """Without the capital a generator was shown."""
    return replace(piece, filters=tuple(one for one in piece.filters if one.name != "capital"))
