"""Which tokens of a vocabulary may be label words, and what a model says of them at the slot."""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from promptatlas.data.example import Example
from promptatlas.errors import DataError, WordError
from promptatlas.lm.ask import Job, Vocabulary
from promptatlas.lm.lm import LM
from promptatlas.prompting import Prompt
from promptatlas.score.words import ONE_SLOT
from promptatlas.search.words import Evidence, evidence
from promptatlas.text.runs import Before
from promptatlas.text.scripts import HAN
from promptatlas.text.template import Template

TOGETHER = 32  # rows whose whole vocabulary is held at once


def is_word(text: str) -> bool:
    """Whether a token's text can be a word: two letters or more, or a single one of a script that writes words so.

    >>> [is_word(one) for one in ("great", "a", "!!", "好", "u2")]
    [True, False, False, True, False]
    """
    letters = [one for one in text if one.isalpha()]
    return len(letters) > 1 or (len(text) == 1 and bool(re.match(f"[{HAN}]", text)))


def whole(lm: LM, token: int, before: Before) -> str:
    """What a token reads as where it stands; "" where that, put there, doesn't give it back: a mere piece of a word."""
    text = "" if token in lm.special else lm.text([token]).strip()
    return text if text and lm.word(text, before) == (token,) else ""


def pool(
    lm: LM, template: Template, *, examples: Sequence[Example] = (), most: int = 0, without: Collection[str] = ()
) -> dict[str, int]:
    """The words that are one token at a template's slot, each with its token, by number of the token.

    A token is a whole word where its own text, put at the slot, gives it back: a piece from inside a word doesn't.

    Args:
        lm: the model.
        template: with one slot.
        examples: texts of the task, by which words are ranked: how often their tokens occur in the template's fields.
        most: only the commonest; words that don't occur come last, in the vocabulary's order. 0: all.
        without: words that may not be taken, whatever their case.

    Raises:
        WordError: the template has another number of slots than one, or no token is a word there.
    """
    if len(template.slots) != 1:
        told = f"label words are searched for one slot, and `{template}` has {len(template.slots)}"
        raise WordError(told, hint=ONE_SLOT)
    before = template.before(template.slots[0])
    stopped = {one.casefold() for one in without}
    counts = _counts(lm, template, examples)
    found: dict[str, int] = {}
    for token in sorted(range(len(lm.vectors)), key=lambda one: -counts[one]):
        if 0 < most <= len(found):
            break
        text = whole(lm, token, before)
        if is_word(text) and text.casefold() not in stopped:
            found[text] = token
    if not found:
        told = f"no token of {lm.name} is a whole word at the slot of `{template}`"
        raise WordError(
            told, hint="a word needs the blank it begins with: put one before {mask}, as in `It was {mask}`"
        )
    return dict(sorted(found.items(), key=lambda one: one[1]))


def _counts(lm: LM, template: Template, examples: Sequence[Example]) -> Counter[int]:
    """How often each token occurs in the fields the template shows."""
    texts = (str(one.fields[name]) for one in examples for name in template.fields if name in one.fields)
    return Counter(token for text in texts for token in lm.tokens(text))


def said(
    prompt: Prompt, lm: LM, examples: Sequence[Example], words: Mapping[str, int] | None = None
) -> Iterator[Float[Tensor, "rows words"]]:
    """Log-probabilities of words among the whole vocabulary at the slot: one read an example, some at a time.

    Args:
        prompt: whose slot is read, with its parts; an example is one row.
        lm: the model.
        examples: their targets aren't looked at.
        words: with their tokens; None: every token.
    """
    at = None if words is None else torch.tensor([*words.values()], device=lm.device)
    lines, _ = prompt.lines(lm, examples)
    for start in range(0, len(lines), TOGETHER):
        rows = prompt.reader(lm).encode(lines[start : start + TOGETHER])
        jobs = [Job(row, (Vocabulary(),), prompt.parts) for row in rows]
        with torch.no_grad():
            read = [one[0].values[0] for one in lm.read(jobs)]
        yield torch.stack([one if at is None else one[at] for one in read]).cpu()


def heard(
    prompt: Prompt, lm: LM, examples: Sequence[Example], shares: Float[Tensor, "rows labels"], words: Mapping[str, int]
) -> Evidence:
    """What a model says of words in examples that count for labels by these shares; no more than sums is kept."""
    found, at = None, 0
    for some in said(prompt, lm, examples, words):
        one = evidence(some, shares[at : at + len(some)])
        found, at = one if found is None else found + one, at + len(some)
    if found is None:
        raise DataError("there is no example to tell words by", hint="give examples of every label")
    return found
