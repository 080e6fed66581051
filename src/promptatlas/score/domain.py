"""Answers of several tokens made comparable: by their length, or by how likely they are where nothing is asked."""

from dataclasses import replace
from typing import Literal, TypeVar

from promptatlas.errors import SettingError
from promptatlas.score.own import Own
from promptatlas.score.words import Words
from promptatlas.text.pieces import FieldPiece, SlotPiece, TextPiece
from promptatlas.text.template import Template

Verbalizer = TypeVar("Verbalizer")


def folded(words: Verbalizer, over_tokens: Literal["sum", "mean"]) -> Verbalizer:
    """Words or choices whose tokens' log-probabilities are added, or averaged.

    Raises:
        SettingError: what stands for the labels isn't read as words in one place.
    """
    if isinstance(words, Own | Words):
        return replace(words, over_tokens=over_tokens)
    kind = getattr(words, "kind", type(words).__name__)
    raise SettingError(
        f"answers of kind `{kind}` have no tokens to {over_tokens}", hint="give each label words, or leave this out"
    )


def summed(words: Verbalizer) -> Verbalizer:
    """The same read as probabilities of whole answers: tokens aren't averaged, and a label's words are added up."""
    if isinstance(words, Own | Words) and words.over_tokens == "mean":
        words = replace(words, over_tokens="sum")
    return replace(words, over_words="sum_prob") if isinstance(words, Words) else words


def domain(template: Template, said: str = "") -> Template:
    """The template of an answer to no question: as it is said, or where it isn't, the template's own end.

    Raises:
        SettingError: what is said has another slot, or is the template itself.
    """
    found = Template.parse(said) if said else ending(template)
    if found.slots and (found == template or found.slots != template.slots):
        told = f"`{found}` is no domain of `{template}`"
        raise SettingError(told, hint="give the same slot, and leave the question out: domain=...")
    return found


def ending(template: Template) -> Template:
    """What stands in a template behind its last field before the slot, without any field, part or demonstration.

    >>> str(ending(Template.parse("Q: {question} A:{mask}")))
    ' A:{mask}'
    """
    pieces = template.pieces
    slot = next(at for at, one in enumerate(pieces) if isinstance(one, SlotPiece))
    fields = [at for at, one in enumerate(pieces[:slot]) if isinstance(one, FieldPiece)]
    kept = pieces[fields[-1] + 1 if fields else 0 :]
    return Template(tuple(one for one in kept if isinstance(one, TextPiece | SlotPiece)))
