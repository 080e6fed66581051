"""A row: one encoded sequence, and where in it everything is. Opaque above `lm/` but for the attributes named here."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Slot:
    """Where an answer is read: `positions` of the sequence that is read (one, or one a token of the answer)."""

    name: str
    positions: tuple[int, ...]


@dataclass(frozen=True)
class Span:
    """Tokens [start, end) that came from one place.

    Attributes:
        kind: "field", "text" (the template's words, or a part that is real tokens), "part" (vectors), "slot", "mark".
        name: of the field, part, slot or mark; "" for the template's own words.
        start: its first position.
        end: the position after its last.
        demo: the demonstration it belongs to, None for the example itself.
        cut: tokens dropped from its end.
    """

    kind: str
    name: str
    start: int
    end: int
    demo: int | None = None
    cut: int = 0


@dataclass(frozen=True)
class Row:
    """One encoded sequence.

    Attributes:
        ids: token ids; a placeholder where a part's vectors stand.
        types: segment ids, as long as `ids` (all zero where the family has none).
        slots: in the order of the template.
        spans: what came from where, in order.
        first: position of the start mark, or of the first token where the family has none.
        last: position of the last token.
        feed: a seq2seq model's decoder input up to the slot (empty otherwise).
        answer: tokens put at the slot by `then`: what `Given` is asked about.
    """

    ids: tuple[int, ...]
    types: tuple[int, ...]
    slots: tuple[Slot, ...]
    spans: tuple[Span, ...]
    first: int = 0
    last: int = 0
    feed: tuple[int, ...] = ()
    answer: tuple[int, ...] = ()

    def __len__(self) -> int:
        """Positions the row takes in the (encoder's) sequence."""
        return len(self.ids)

    def cut(self) -> int:
        """Tokens that were dropped to fit the window."""
        return sum(span.cut for span in self.spans)

    def demos(self) -> int:
        """Demonstrations that stand in it."""
        return len({span.demo for span in self.spans} - {None})

    def begun(self, ids: tuple[int, ...]) -> "Row":
        """The row of a model that writes, with these tokens as written already: it goes on behind them."""
        if self.feed:
            return replace(self, feed=(*self.feed, *ids))
        return replace(self, ids=(*self.ids, *ids), types=(*self.types, *[0] * len(ids)), last=self.last + len(ids))

    def then(self, ids: tuple[int, ...]) -> "Row":
        """The row with these tokens as its answer: after the slot, or in the slot's masks where the model is masked."""
        return replace(self, answer=tuple(ids))
