"""A template's own words as vectors: the same prompt where a gradient can reach it. And vectors around its fields."""

from collections.abc import Mapping, Sequence

import torch

from promptatlas.errors import SettingError, TemplateError, near
from promptatlas.lm.lm import LM
from promptatlas.lm.site import Part
from promptatlas.parts.vectors import Vectors
from promptatlas.text.pieces import DemosPiece, EachPiece, FieldPiece, MarkPiece, PartPiece, Piece, SlotPiece, TextPiece
from promptatlas.text.runs import Before
from promptatlas.text.template import Template

STARTS = ("mask", "alike", "by_dimension", "normal")
OWN = "_own_"  # what its own words are called as fields, while they are tokenised in place


def soften(
    lm: LM, template: Template, fields: Mapping[str, object], *, name: str, parts: Mapping[str, Part]
) -> tuple[Template, dict[str, tuple[int, ...]]]:
    """The template with a part in place of each stretch of its own words, and the tokens each part stands for.

    With vectors of those tokens (`of_tokens`) the new template says exactly what the old one did: words are tokenised
    where they stand, and `{start}` is written out where vectors lead, since a model's own mark would go behind them.

    Args:
        lm: the model.
        template: punctuation is softened like words; blanks, which belong to what follows them, stay.
        fields: of any example.
        name: parts are called `name_0`, `name_1`, ….
        parts: those the template places already; they stay.
    """
    pieces = [piece for piece in template.pieces if piece != DemosPiece()]
    owned = [FieldPiece(f"{OWN}{i}", keep=True) if isinstance(one, TextPiece) else one for i, one in enumerate(pieces)]
    texts = {f"{OWN}{i}": one.text for i, one in enumerate(pieces) if isinstance(one, TextPiece)}
    (row,) = lm.encode([Template(tuple(owned)).render({**fields, **texts}, label="")], parts)
    found = {span.name: row.ids[span.start : span.end] for span in row.spans if span.name.startswith(OWN)}
    made: dict[str, tuple[int, ...]] = {}
    soft: list[Piece] = []
    own = iter(found.get(f"{OWN}{i}", ()) for i, one in enumerate(pieces) if isinstance(one, TextPiece))
    for piece in template.pieces:
        ids = next(own) if isinstance(piece, TextPiece) else ()
        if not isinstance(piece, TextPiece) or not ids:
            soft.append(piece)
            continue
        part = f"{name}_{len(made)}"
        made[part] = tuple(ids)
        soft += [PartPiece(part), TextPiece(piece.text[len(piece.text.rstrip(" ")) :])]
    return Template(started(soft, made)), made


def positions(lm: LM, template: Template, fields: Mapping[str, object], *, parts: Mapping[str, Part]) -> int:
    """How many vectors a row of the template has. Raises TemplateError where it has none."""
    (row,) = lm.encode([template.render(fields, label="")], parts)
    count = sum(span.end - span.start for span in row.spans if span.kind == "part")
    if not count:
        raise TemplateError(f"`{template}` has neither words of its own nor vectors", hint="put some around the fields")
    return count


def spaced(template: Template, name: str) -> Template:
    """The template without its own words: the parts `name_0`, `name_1`, … around its fields and slots instead.

    >>> spaced(Template.parse("{text} It was {mask}."), "soft")
    Template.parse('{start}{@soft_0}{text}{@soft_1} {mask}{@soft_2}')
    """
    soft: list[Piece] = []
    count = 0
    for piece in template.pieces:
        if isinstance(piece, TextPiece | PartPiece):
            continue
        if isinstance(piece, FieldPiece | EachPiece | SlotPiece):
            soft += [PartPiece(f"{name}_{count}"), TextPiece(" " if count else "")]
            count += 1
        soft.append(piece)
    at = len(soft) - (soft[-1:] == [MarkPiece("end")])
    soft.insert(at, PartPiece(f"{name}_{count}"))
    return Template(started(soft, [f"{name}_{i}" for i in range(count + 1)]))


def started(pieces: Sequence[Piece], fresh: Sequence[str] | Mapping[str, object]) -> tuple[Piece, ...]:
    """The pieces with `{start}` in front of a leading part that is one of the fresh ones."""
    first = next((i for i, one in enumerate(pieces) if not isinstance(one, PartPiece) or one.name in fresh), 0)
    leads = isinstance(pieces[first], PartPiece)
    mark = [MarkPiece("start")] if leads and MarkPiece("start") not in pieces else []
    return (*pieces[:first], *mark, *pieces[first:])


def of_tokens(lm: LM, ids: Sequence[int]) -> Vectors:
    """The input vectors of these tokens, to be trained."""
    return Vectors(lm.vectors[list(ids)])


def fresh(lm: LM, start: str, length: int, *, seed: int, scale: float = 1.0) -> Vectors:
    """`length` vectors to start from.

    Args:
        lm: the model.
        start: "mask", the mask token's; "alike", normal with the mean and deviation of all numbers of the model's own;
            "by_dimension", the same a dimension at a time; "normal" around zero.
        length: how many.
        seed: of the draw.
        scale: deviation of "normal".

    Raises:
        SettingError: no such start, or a model without a mask.
    """
    if start not in STARTS:
        raise SettingError(f"`start` can't be `{start}`", hint=near(start, STARTS))
    if start == "mask":
        if lm.mask is None:
            raise SettingError(f"{lm.name} has no mask to start from", hint='set start="alike"')
        return of_tokens(lm, [lm.mask] * length)
    drawn = torch.randn(length, lm.width, generator=torch.Generator().manual_seed(seed))
    if start == "normal":
        return Vectors(drawn * scale)
    table = lm.vectors.float().cpu()
    mean, spread = (table.mean(), table.std()) if start == "alike" else (table.mean(0), table.std(0))
    return Vectors(drawn * spread + mean)


def around(template: Template, field: str, part: str) -> Template:
    """The template with a part in front of a field and behind it, where it shows that field last.

    Raises:
        TemplateError: the template doesn't show it.

    >>> around(Template.parse("{text} {head!} is {mask}"), "head", "kind")
    Template.parse('{text}{@kind} {head!}{@kind} is {mask}')
    """
    shown = [at for at, piece in enumerate(template.pieces) if isinstance(piece, FieldPiece) and piece.name == field]
    if not shown:
        raise TemplateError(f"`{template}` doesn't show the field `{field}`", hint=near(field, template.fields))
    ahead, thing, behind = template.pieces[: shown[-1]], template.pieces[shown[-1]], template.pieces[shown[-1] + 1 :]
    text = ahead[-1].text if ahead and isinstance(ahead[-1], TextPiece) else ""
    own = text.rstrip(" ")  # a blank belongs to what follows it
    before = (*ahead[:-1], TextPiece(own)) if text else ahead
    made = (*before, PartPiece(part), TextPiece(text[len(own) :]), thing, PartPiece(part), *behind)
    return Template(started([piece for piece in made if piece != TextPiece("")], [part]))


def mean_of(lm: LM, words: Sequence[str]) -> Vectors:
    """One vector, the mean over the tokens of some words, each as it stands in the middle of a text.

    Raises:
        SettingError: the vocabulary has nothing of them.
    """
    ids = [one for word in words for one in lm.word(word, Before(" ")) if one not in lm.special]
    if not ids:
        raise SettingError(
            f"nothing of {', '.join(words) or 'no words'} is in the vocabulary of {lm.name}", hint="name others"
        )
    return Vectors(lm.vectors[ids].float().mean(0, keepdim=True))
