r"""A template: a prompt's text, parsed once into a frozen value, rendered as often as wanted.

    {text}          a field of the example; cut to fit        {text!}        never cut
    {text|lower}    filters, left to right (see `filters`)    {text!|lower|cut(40)}
    {mask}          where the answer is read                  {mask:a} {mask:b}   several answers, named
    {@soft}         the part named `soft`, as long as that part is
    {demos}         where demonstrations go: each is the stretch after it; what stands before it is said once
    {label}         the label's word, as text
    {tokens:each}   the items of a list, a slot at the first piece of each ({tokens!:each}: never cut)
    {start} {sep} {end}   the tokenizer's own marks; written out, they replace the automatic ones
    {{ }}           braces

Everything else is plain text, full-width braces and punctuation too. Inside braces there are no blanks. A template
without a slot is legal. What a field holds is never parsed, whatever it looks like. `mask`, `demos`, `label`, `start`,
`sep` and `end` are the language's own words: a column of such a name is renamed where the data is read, but for
`label`, which is read as the target already.

    >>> template = Template.parse("{text!|strip} It was {mask}.")
    >>> template.fields, template.slots
    (('text',), ('',))
    >>> for run in template.render({"text": " a {mask} film "}):
    ...     print(run)
    TextRun(text='a {mask} film', field='text', keep=True, demo=None)
    TextRun(text=' It was ', field=None, keep=False, demo=None)
    SlotRun(name='', demo=None)
    TextRun(text='.', field=None, keep=False, demo=None)
"""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from promptatlas.errors import TemplateError, near
from promptatlas.text.parse import located, read
from promptatlas.text.pieces import (
    DemosPiece,
    EachPiece,
    FieldPiece,
    LabelPiece,
    MarkPiece,
    PartPiece,
    Pieces,
    SlotPiece,
    TextPiece,
    check_place,
    joined,
)
from promptatlas.text.render import Filling, filled, merged
from promptatlas.text.runs import Before, Run, Runs


@dataclass(frozen=True)
class Shown:
    """A demonstration: its fields, and its word (one a slot where there are several)."""

    fields: Mapping[str, object]
    word: str | tuple[str, ...]


@dataclass(frozen=True, repr=False)
class Template:
    """A prompt's text, parsed. `Template.parse(str(t)) == t` for every template, however it was made.

    Attributes:
        pieces: what it is made of; texts that touch are joined.

    >>> Template((TextPiece("It "), TextPiece("was "), SlotPiece()))
    Template.parse('It was {mask}')
    """

    pieces: Pieces = ()

    def __post_init__(self) -> None:
        """Bring the pieces to their one form; refuse those that can't stand together."""
        object.__setattr__(self, "pieces", joined(self.pieces))
        for index in range(len(self.pieces)):
            try:
                check_place(self.pieces, index)
            except TemplateError as problem:
                raise self._located(problem, index) from None

    @classmethod
    def parse(cls, text: str) -> "Template":
        """The template written so; the same text gives the same object.

        Raises:
            TemplateError: what is wrong, at which column, and what could stand there.
        """
        return _parse(text)

    def __str__(self) -> str:
        """As it is written."""
        return "".join(map(str, self.pieces))

    def __repr__(self) -> str:
        """As it is made."""
        return f"Template.parse({str(self)!r})"

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the fields it shows, each once, in order."""
        return tuple(dict.fromkeys(piece.name for piece in self.pieces if isinstance(piece, FieldPiece | EachPiece)))

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of its slots in order, "" for `{mask}`; not those of `{tokens:each}`, which depend on the data."""
        return tuple(piece.name for piece in self.pieces if isinstance(piece, SlotPiece))

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the parts it places, each once, in order."""
        return tuple(dict.fromkeys(piece.name for piece in self.pieces if isinstance(piece, PartPiece)))

    @property
    def has_label(self) -> bool:
        """Whether it says the label's word."""
        return LabelPiece() in self.pieces

    @property
    def has_demos(self) -> bool:
        """Whether it says where demonstrations go."""
        return DemosPiece() in self.pieces

    @property
    def each(self) -> EachPiece | None:
        """The list it shows item by item, a slot at every one; None where it shows none so."""
        return next((piece for piece in self.pieces if isinstance(piece, EachPiece)), None)

    @property
    def has_each(self) -> bool:
        """Whether it has a slot at every item of a list."""
        return self.each is not None

    def render(
        self,
        fields: Mapping[str, object],
        *,
        word: str | Sequence[str] | None = None,
        label: str | None = None,
        demos: Sequence[Shown] = (),
        between: "Template | None" = None,
    ) -> Runs:
        r"""The template with an example in it.

        Demonstrations stand at `{demos}`. Where there is none they stand at the beginning, after leading parts and
        `{start}`, and what is repeated is all the rest. A field gives a run even where it is empty; the template's own
        words that touch are one run.

        Args:
            fields: what the template may show; others are ignored.
            word: what the slots are filled with (a sequence: one a slot); None leaves them slots.
            label: the text of `{label}`; the (first) `word` where it isn't given.
            demos: shown before the example, each with `between` after it.
            between: plain text and parts; two line breaks where it isn't given.

        Raises:
            TemplateError: a field that is missing, or not a text; a label without a word; too few words or too many.

        >>> template = Template.parse("Mood?{demos}{text}:{mask}")
        >>> sun = Shown({"text": "sun"}, "good")
        >>> runs = template.render({"text": "rain"}, demos=[sun], between=Template.parse("; "))
        >>> [(run.text, run.demo) for run in runs if hasattr(run, "text")]
        [('Mood?', None), ('sun', 0), (':good; ', 0), ('rain', None), (':', None)]
        """
        own = Filling(fields, self._words(word), _first(word) if label is None else label)
        said_once, stretch = self._stretches()
        joint = (TextPiece("\n\n"),) if between is None else _joint(between)
        runs = list(self._runs(said_once, own))
        for number, demo in enumerate(demos):
            runs += self._runs(stretch, Filling(demo.fields, self._words(demo.word), _first(demo.word), number))
            runs += [run for piece in joint for run in filled(piece, Filling({}, demo=number))]
        runs += self._runs(stretch, own)
        return merged(runs)

    def before(self, slot: str = "") -> Before:
        """The template's own text directly before a slot, by which a word is tokenised in place.

        >>> Template.parse("{text} It was {mask}.").before()
        Before(text=' It was ', start=False)
        """
        if slot not in self.slots:
            name = f"{{mask:{slot}}}" if slot else "{mask}"
            known = [str(SlotPiece(one)) for one in self.slots]
            raise TemplateError(f"there is no slot `{name}` in `{self}`", hint=near(name, known))
        ahead = [piece for piece in self.pieces[: self.pieces.index(SlotPiece(slot))] if piece != DemosPiece()]
        text = ahead[-1].text if ahead and isinstance(ahead[-1], TextPiece) else ""
        return Before(text, start=all(isinstance(piece, MarkPiece) for piece in ahead))

    def lead(self, part: str) -> "Template":
        """The template with `{@part}` put first (after a leading `{start}`); unchanged where it stands there already.

        >>> Template.parse("{start}{text}").lead("soft")
        Template.parse('{start}{@soft}{text}')
        """
        first = PartPiece(part)
        at = 1 if self.pieces[:1] == (MarkPiece("start"),) else 0
        return self if self.pieces[at : at + 1] == (first,) else Template((*self.pieces[:at], first, *self.pieces[at:]))

    def only_field(self, made: Container[str] = (), also: Iterable[str] = ()) -> str:
        """The one field's name; those that are `made` for every example don't count, those it wants `also` do.

        Raises:
            TemplateError: it shows none, or several; all are named.

        >>> Template.parse("{text} It was {mask}. {text}").only_field()
        'text'
        """
        fields = [name for name in dict.fromkeys((*self.fields, *also)) if name not in made]
        if len(fields) == 1:
            return fields[0]
        what = "several fields, " + ", ".join(f"`{name}`" for name in fields) if fields else "no field"
        raise TemplateError(f"`{self}` shows {what}, where one is needed", hint="give each example as fields by name")

    def _stretches(self) -> tuple[range, range]:
        """Where the pieces are that are said once, and those that are repeated in each demonstration."""
        here = 0
        if self.has_demos:
            here = self.pieces.index(DemosPiece()) + 1
        else:
            for index, piece in enumerate(self.pieces):
                if isinstance(piece, PartPiece) or piece == MarkPiece("start"):
                    here = index + 1
                elif not (isinstance(piece, TextPiece) and piece.text.isspace()):
                    break
        return range(here), range(here, len(self.pieces))

    def _words(self, word: str | Sequence[str] | None) -> Mapping[str, str] | None:
        """Slot name -> what it is filled with."""
        if word is None:
            return None
        words = (word,) * len(self.slots) if isinstance(word, str) else tuple(word)
        if self.slots and len(words) != len(self.slots):
            counts = f"slots: {len(self.slots)}, words given: {len(words)}"
            raise TemplateError(f"`{self}` has {counts}", hint="give one word a slot")
        return dict(zip(self.slots, words, strict=False))  # no slot: only `{label}` says the word

    def _runs(self, where: range, filling: Filling) -> Iterator[Run]:
        for index in where:
            try:
                yield from filled(self.pieces[index], filling)
            except TemplateError as problem:
                raise self._located(problem, index, filling.demo) from None

    def _located(self, problem: TemplateError, index: int, demo: int | None = None) -> TemplateError:
        at = sum(len(str(piece)) for piece in self.pieces[:index])
        error = located(problem, str(self), at)
        return error if demo is None else TemplateError(f"demonstration {demo + 1}, {error.message}", hint=error.hint)


@lru_cache(maxsize=4096)
def _parse(text: str) -> Template:
    return Template(read(text))


def _first(word: str | Sequence[str] | None) -> str | None:
    return word if word is None or isinstance(word, str) else next(iter(word), None)


def _joint(between: Template) -> Pieces:
    for piece in between.pieces:
        if not isinstance(piece, TextPiece | PartPiece):
            what = f"`{between}` has `{piece}`, and can't stand between demonstrations"
            raise TemplateError(what, hint="plain text stands there, and parts")
    return between.pieces
