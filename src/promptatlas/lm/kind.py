"""Masked, causal, seq2seq: what stands at a slot, where it is read, what a decoder is fed. A template doesn't know."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from promptatlas.errors import ModelError, TemplateError
from promptatlas.lm.row import Row, Slot, Span
from promptatlas.text.runs import ItemsRun, MarkRun, PartRun, Runs, SlotRun, TextRun


@dataclass(frozen=True)
class Layout:
    """How rows of one model are laid out.

    Attributes:
        kind: of the model.
        fill: how a seq2seq model writes what is missing (see `family.Family`).
        hole_id: the token that stands at a slot (mask or sentinel), None where nothing does.
        decoder_start: what a decoder is fed first.
        types: how many segments the family knows.
    """

    kind: Literal["masked", "causal", "seq2seq"]
    fill: Literal["sentinel", "infill", "direct"] = "direct"
    hole_id: int | None = None
    decoder_start: int = 0
    types: int = 1

    def check(self, runs: Runs) -> None:
        """Refuse what this kind of model can't be asked. Raises TemplateError, quoting the text in the way."""
        if self.kind == "seq2seq" and any(isinstance(run, ItemsRun) for run in runs):
            raise TemplateError(
                "a seq2seq model writes one answer and can't be read at every item", hint="use a masked model for tags"
            )
        places = [i for i, run in enumerate(runs) if isinstance(run, SlotRun)]
        if not places or self.kind == "masked":
            return
        if len(places) > 1:
            raise TemplateError(
                f"a {self.kind} model fills one slot, and the template has {len(places)}", hint="use a masked model"
            )
        after = "".join(_shown(run) for run in runs[places[0] + 1 :])
        if self.kind == "causal" and after.strip():
            raise TemplateError(
                f"a causal model can't see what follows the slot: `{after.strip()[:60]}`",
                hint="put {mask} at the end of the template, or use a masked or seq2seq model",
            )

    def hole(self, width: int) -> list[int]:
        """Tokens that stand at a slot."""
        if self.kind == "causal" or self.hole_id is None:
            return []
        return [self.hole_id] * (width if self.kind == "masked" else 1)

    def row(self, ids: Sequence[int], slots: Sequence[Slot], spans: Sequence[Span], *, types: Sequence[int]) -> Row:
        """The finished row: slots as positions to read from, and the decoder's input of a seq2seq model."""
        last = len(ids) - 1
        first = next((span.start for span in spans if span.kind == "mark" and span.name == "start"), -1)
        if first < 0:  # no start mark: the first position that isn't a vector's
            first = next((span.start for span in spans if span.kind != "part" and span.end > span.start), 0)
        feed: tuple[int, ...] = ()
        if self.kind == "causal":
            slots = [Slot(slot.name, slot.positions or (last,)) for slot in slots]
        elif self.kind == "seq2seq":
            feed = self._feed(ids, slots, spans)
            slots = [Slot(slot.name, (len(feed) - 1,)) for slot in slots]
        return Row(tuple(ids), tuple(types), tuple(slots), tuple(spans), first, last, feed)

    def _feed(self, ids: Sequence[int], slots: Sequence[Slot], spans: Sequence[Span]) -> tuple[int, ...]:
        start = (self.decoder_start,)
        if self.fill == "direct" or not slots:
            return start
        if self.fill == "sentinel":
            return start + tuple(ids[i] for i in slots[0].positions)
        virtual = {i for span in spans if span.kind == "part" for i in range(span.start, span.end)}
        return start + tuple(ids[i] for i in range(slots[0].positions[0]) if i not in virtual)


def _shown(run: TextRun | ItemsRun | SlotRun | PartRun | MarkRun) -> str:
    if isinstance(run, TextRun):
        return run.text
    if isinstance(run, ItemsRun):
        return " ".join(run.items)
    return f"{{@{run.name}}}" if isinstance(run, PartRun) else ""


def hole(kind: str, fill: str, mask: int | None, sentinel: int | None) -> int | None:
    """What stands at a slot. Raises ModelError where a model that needs a mask has none."""
    if kind == "causal" or (kind == "seq2seq" and fill == "direct"):
        return None
    found = sentinel if fill == "sentinel" else mask
    if found is None and kind == "masked":
        raise ModelError(
            "this masked model's tokenizer has no mask token", hint="load it with the tokenizer it was trained with"
        )
    return found
