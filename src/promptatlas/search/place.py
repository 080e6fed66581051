"""Where in a template a searched part goes, and what it is at first."""

from promptatlas.errors import SettingError, TemplateError
from promptatlas.lm.lm import LM
from promptatlas.parts.tokens import Tokens
from promptatlas.prompting import Prompt
from promptatlas.text.pieces import MarkPiece, PartPiece, SlotPiece, TextPiece
from promptatlas.text.template import Template


def placed(template: Template, part: str) -> Template:
    """The template with `{@part}` in it: where it stands already, else directly before the only slot.

    Blanks before the slot stay with the slot, whose words are tokenised with them. Where nothing but parts stands
    before it, `{start}` is written out: a model's own start mark goes behind leading vectors, but before leading
    tokens, and the two have to take the same places.

    >>> placed(Template.parse("{text} It was {mask}."), "trigger")
    Template.parse('{text} It was{@trigger} {mask}.')
    >>> placed(Template.parse("{@trigger}{text} {mask}"), "trigger")
    Template.parse('{start}{@trigger}{text} {mask}')

    Raises:
        TemplateError: it has no slot, or several.
    """
    if len(template.slots) != 1:
        what = f"tokens are searched for one slot, and `{template}` has {len(template.slots)}"
        raise TemplateError(what, hint="leave one {mask} in it")
    pieces = template.pieces
    if part not in template.parts:
        at = pieces.index(SlotPiece(template.slots[0]))
        text = "".join(piece.text for piece in pieces[max(at - 1, 0) : at] if isinstance(piece, TextPiece))
        kept = text.rstrip(" ")
        ahead = pieces[: at - 1] if text else pieces[:at]
        pieces = Template((*ahead, TextPiece(kept), PartPiece(part), TextPiece(text[len(kept) :]), *pieces[at:])).pieces
    first = pieces.index(PartPiece(part))
    if MarkPiece("start") not in pieces and all(isinstance(piece, PartPiece) for piece in pieces[:first]):
        pieces = (*pieces[:first], MarkPiece("start"), *pieces[first:])
    return Template(pieces)


def beginning(lm: LM, template: Template, length: int, text: str = "") -> Tokens:
    """Tokens to start a search from.

    Args:
        lm: the model.
        template: before whose slot they stand.
        length: how many.
        text: what they say; "" is nothing yet, as masks do, or "the" in a model without a mask.

    Raises:
        SettingError: the text has another number of tokens.
    """
    if length < 1:
        raise SettingError(f"`length` is {length}", hint="search for 1 token or more")
    before = template.before(template.slots[0])
    nothing = lm.word("the", before)[0] if lm.mask is None else lm.mask
    ids = lm.word(text, before) if text else (nothing,) * length
    if len(ids) != length:
        pieces = " ".join(f"`{piece}`" for piece in lm.pieces(ids))
        what = f"`{text}` is {len(ids)} tokens in {lm.name}, {pieces}, and {length} are searched for"
        raise SettingError(what, hint=f"set length={len(ids)}, or start from other words")
    return Tokens(ids)


def standing(prompt: Prompt, part: str) -> Tokens:
    """The tokens that a part is. Raises SettingError for a part of another kind."""
    found = prompt.parts[part]
    if not isinstance(found, Tokens):
        what = f"the part `{part}` is of kind `{found.kind}`"
        raise SettingError(what, hint="only tokens can be exchanged for others; take it out, or give it another name")
    return found
