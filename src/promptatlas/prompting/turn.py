"""A template turned about: what stood at its slot is shown, and a field of it stands at the slot."""

from promptatlas.errors import SettingError, near
from promptatlas.text.filters import Filter
from promptatlas.text.pieces import DemosPiece, FieldPiece, PartPiece, Piece, SlotPiece, TextPiece
from promptatlas.text.template import Template

ENDS = " \t\n.,;:!?。，；：！？"  # what ended the field, and has nothing to end where it is gone


def turned(template: Template, field: str, shown: str) -> Template:
    """The template with `{shown!}` at its slot, and a slot for the field behind all else.

    Where nothing follows what is shown, it gets a full stop, as all templates of the paper have it (Min, Lewis,
    Hajishirzi & Zettlemoyer 2022, arXiv:2108.04106).

    Raises:
        SettingError: there is no such field, it has filters, or there are several slots.

    >>> turned(Template.parse("Review: {text} It was {mask}."), "text", "word")
    Template.parse('Review: It was {word!}. {mask}')
    >>> turned(Template.parse("{text}. It was {mask}."), "text", "word")
    Template.parse('It was {word!}. {mask}')
    >>> turned(Template.parse("{mask} news: {text}"), "text", "word")
    Template.parse('{word!} news: {mask}')
    >>> turned(Template.parse("{text} It was {mask}"), "text", "word")
    Template.parse('It was {word!|stop} {mask}')
    """
    if len(template.slots) != 1 or template.has_each:
        raise SettingError(f"`{template}` has no single slot", hint="give a template with one {mask}")
    own = [one for one in template.pieces if isinstance(one, FieldPiece) and one.name == field]
    if not own:
        raise SettingError(f"`{template}` doesn't show `{field}`", hint=near(field, template.fields))
    if any(one.filters for one in own):
        raise SettingError(f"`{own[0]}` is scored as it stands, without filters", hint="leave the filters out")
    pieces: list[Piece] = []
    bare = True  # nothing stands before, or the field did
    for one in template.pieces:
        if isinstance(one, TextPiece) and bare:
            one = TextPiece(one.text.lstrip(ENDS))
        bare = one in own or isinstance(one, DemosPiece | PartPiece)
        if one not in own:
            pieces.append(FieldPiece(shown, keep=True) if isinstance(one, SlotPiece) else one)
    if pieces[-1] == FieldPiece(shown, keep=True):
        pieces[-1] = FieldPiece(shown, keep=True, filters=(Filter("stop"),))
    return Template((*_parted(pieces), SlotPiece()))


def _parted(pieces: list[Piece]) -> list[Piece]:
    """The pieces with a blank at the end, unless there is one."""
    last = pieces[-1]
    return pieces if isinstance(last, TextPiece) and last.text[-1:].isspace() else [*pieces, TextPiece(" ")]
