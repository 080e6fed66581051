"""Templates that a seq2seq model writes around an example and its label's word.

Gao, Fisch & Chen 2021, arXiv:2012.15723, sec. 5.2.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor

from promptatlas.data.example import Example
from promptatlas.errors import DataError, NeedsError, SettingError, near
from promptatlas.lm.ask import Job, Vocabulary
from promptatlas.lm.lm import LM
from promptatlas.lm.row import Row
from promptatlas.parts.tokens import Tokens
from promptatlas.search.around import REST, STOP, filled
from promptatlas.text.template import Template

Aggregate = Literal["logprob", "logit"]

STEPS = 18  # tokens a template has at most, with the marks that close its two parts (released code)
BESIDE = 3  # so many more continuations than the beam is wide are looked at (released code)
LONG = 256  # tokens of a text that the generator sees (released code)
BETWEEN = 16  # tokens of its window that are left to sentinels, word and end
SENTINEL = "<extra_id_{}>"
DOTS = re.compile(r"\.\.|…")
WRITERS = 'give a T5 that fills spans (`pocket-seq2seq`, a folder, a hub name); without one, generator="" keeps yours'


class Written(NamedTuple):
    """A template, and its score: the mean log-probability over the examples of what was written in it."""

    template: Template
    score: float


@dataclass(frozen=True)
class Beam:
    """What is written so far, the same for all examples.

    Attributes:
        ids: tokens behind the first sentinel.
        closed: parts that are written: with two, or where the text ended, it is done.
        score: summed over steps.
    """

    ids: tuple[int, ...] = ()
    closed: int = 0
    score: float = 0.0


def written(
    generator: LM, examples: Sequence[Example], words: Sequence[str], layout: Template, *, beams: int,
    steps: int = STEPS, aggregate: Aggregate = "logprob",
) -> list[Written]:  # fmt: skip
    """Templates, the likeliest first: one text is written for all examples together, by beam search.

    A step takes the tokens that are likeliest on average over the examples; lengths are not made up for. What is done
    is carried on beside what is not. Texts that end nowhere within `steps` are left out, unless none ends.

    Args:
        generator: a seq2seq model with sentinels.
        examples: with their fields.
        words: of each example, its label's.
        layout: one of `around.layouts`.
        beams: how many texts go on, and how many templates come out at most.
        steps: of writing.
        aggregate: "logprob" is the mean of log-probabilities (the paper's sum), "logit" brings that of each step to one
            distribution again, as the released code does; they differ where texts of different beginnings compete.

    Raises:
        NeedsError: the generator has no sentinels to write behind.
        SettingError: a setting that can't be.
        DataError: no examples.
    """
    if beams < 1 or steps < 1:
        raise SettingError(f"beams={beams}, steps={steps}", hint="both are 1 or more")
    if aggregate not in get_args(Aggregate):
        raise SettingError(f"`aggregate` can't be `{aggregate}`", hint=near(aggregate, get_args(Aggregate)))
    if not examples:
        raise DataError("there are no examples to write templates for")
    marks = sentinels(generator)
    rows = _rows(generator, examples, words, layout, marks)
    parts = 1 + (REST in layout.parts)
    pen = _Pen(generator, rows, marks, parts, aggregate)
    some = [Beam()]
    for _ in range(steps):
        if all(one.closed == parts for one in some):
            break
        done = [one for one in some if one.closed == parts]
        grown = pen.grown([one for one in some if one.closed < parts], beams + BESIDE)
        some = sorted([*done, *grown], key=lambda one: -one.score)[:beams]
    found: dict[Template, Written] = {}
    for one in [one for one in some if one.closed == parts] or some:
        texts = pen.texts(one)
        if not any("\ufffd" in text for text in texts):
            template = filled(layout, texts)
            found.setdefault(template, Written(template, one.score))
    return list(found.values())


def sentinels(lm: LM) -> tuple[int, int, int]:
    """The first three sentinels of a span-corruption model. Raises NeedsError where it has none."""
    pieces = dict(zip(lm.pieces(sorted(lm.special)), sorted(lm.special), strict=True))
    found = [pieces.get(SENTINEL.format(at)) for at in range(3)]
    if lm.kind != "seq2seq" or found[0] is None or found[1] is None:
        kind = "no seq2seq model" if lm.kind != "seq2seq" else "a seq2seq model without sentinels"
        raise NeedsError(f"templates are written by a model that fills spans, and `{lm.name}` is {kind}", hint=WRITERS)
    return found[0], found[1], found[1] if found[2] is None else found[2]


def _rows(
    lm: LM, examples: Sequence[Example], words: Sequence[str], layout: Template, marks: tuple[int, int, int]
) -> list[Row]:
    """Each example with its word in the layout, a sentinel at each place to write at."""
    front = layout.pieces[0] != STOP
    most = min(LONG, (lm.window - BETWEEN) // len(layout.fields))
    runs = [
        layout.render({name: _short(lm, one.fields.get(name), most, front) for name in layout.fields}, label=word)
        for one, word in zip(examples, words, strict=True)
    ]
    return lm.encode(runs, {REST: Tokens((marks[1],))})


def _short(lm: LM, value: object, most: int, front: bool) -> object:
    """A text's end, where it stands before what is written; else its beginning."""
    if not isinstance(value, str) or len(lm.tokens(value)) <= most:
        return value
    low, high = 0, len(value)
    while high - low > 1:
        middle = (low + high) // 2
        if len(lm.tokens(value[-middle:] if front else value[:middle])) <= most:
            low = middle
        else:
            high = middle
    return value[-low:] if front else value[:low]


@dataclass(frozen=True, eq=False)
class _Pen:
    """Writes on, with a generator, behind the first sentinel of some rows."""

    lm: LM
    rows: Sequence[Row]
    marks: tuple[int, int, int]
    parts: int
    aggregate: Aggregate

    def grown(self, some: Sequence[Beam], count: int) -> list[Beam]:
        """Each with one more token, of the `count` likeliest that may stand there."""
        return [more for one, logp in zip(some, self._means(some), strict=True) for more in self._on(one, logp, count)]

    def texts(self, one: Beam) -> tuple[str, ...]:
        """What is written at each place, as it goes on from what stands before it."""
        places: list[list[int]] = [[] for _ in range(self.parts)]
        at = 0
        for token in one.ids:
            if token in self._closing(at):
                at += 1
            else:
                places[at].append(token)
        ahead = self.lm.tokens("a")
        start = len(self.lm.text(ahead))
        return tuple(self.lm.text([*ahead, *ids])[start:].rstrip() for ids in places)

    def _means(self, some: Sequence[Beam]) -> Iterator[Float[Tensor, " vocab"]]:
        """The mean log-probability over the rows of every token that may come next."""
        means = [torch.zeros(len(self.lm.outputs), dtype=torch.float64, device=self.lm.device) for _ in some]
        for row in self.rows:  # all beginnings of a row are one tree in its decoder, and its text is read once
            jobs = [Job(row.then((*one.ids, self.marks[0])), (Vocabulary(last=True),)) for one in some]
            with torch.no_grad():
                for mean, reading in zip(means, self.lm.read(jobs), strict=True):
                    mean += reading[0].values[0] / len(self.rows)
        for mean in means:
            yield mean.log_softmax(-1) if self.aggregate == "logit" else mean

    def _on(self, one: Beam, logp: Float[Tensor, " vocab"], count: int) -> list[Beam]:
        logp = logp.index_fill(0, self._barred(one).to(logp.device), -torch.inf)
        best = logp.topk(min(count, len(logp)))
        found = []
        for token, value in zip(best.indices.tolist(), best.values.tolist(), strict=True):
            if value > -torch.inf:
                closed = one.closed + (token in self._closing(one.closed))
                ends = self.parts if token == self._end else closed
                found.append(Beam((*one.ids, token), ends, one.score + value))
        return found

    def _closing(self, at: int) -> tuple[int | None, ...]:
        """The tokens that close a part: the next sentinel, or the text's end."""
        return (self.marks[min(at + 1, 2)], self._end)

    def _barred(self, one: Beam) -> Int[Tensor, " tokens"]:
        """Tokens that may not come next."""
        marks = self.lm.special.difference(self._closing(one.closed))
        again = self._stops if one.ids and one.ids[-1] in self._stops else ()
        return torch.tensor(sorted({*marks, *self._empty, *again}))

    @cached_property
    def _end(self) -> int | None:
        """The tokenizer's end mark."""
        row = self.rows[0]
        return next((row.ids[span.start] for span in row.spans if (span.kind, span.name) == ("mark", "end")), None)

    @cached_property
    def _spelled(self) -> list[str]:
        return [self.lm.text([token]) for token in range(len(self.lm.outputs))]

    @cached_property
    def _empty(self) -> frozenset[int]:
        """Tokens without a letter or sign, and those of several dots; a mark has no text either, and isn't meant."""
        empty = (at for at, text in enumerate(self._spelled) if not text.strip() or DOTS.search(text))
        return frozenset(empty) - self.lm.special

    @cached_property
    def _stops(self) -> frozenset[int]:
        """Tokens that are a full stop, of which no two stand in a row."""
        return frozenset(at for at, text in enumerate(self._spelled) if text.strip() == ".")
