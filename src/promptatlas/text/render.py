"""From a piece of a template to its runs, given an example.

A field keeps where it came from and whether it may be cut; everything else is the template's own.

    >>> list(filled(FieldPiece("text"), Filling({"text": "rain"})))
    [TextRun(text='rain', field='text', keep=False, demo=None)]
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from promptatlas.errors import TemplateError, near
from promptatlas.text.filters import items, shown
from promptatlas.text.pieces import (
    DemosPiece,
    EachPiece,
    FieldPiece,
    LabelPiece,
    MarkPiece,
    PartPiece,
    Piece,
    SlotPiece,
    TextPiece,
)
from promptatlas.text.runs import ItemsRun, MarkRun, PartRun, Run, Runs, SlotRun, TextRun


@dataclass(frozen=True, eq=False)
class Filling:
    """What a stretch of a template is filled with.

    Attributes:
        fields: what it may show.
        words: slot name -> what it is filled with; None leaves its slots open.
        label: the text of `{label}`, where it is known.
        demo: which demonstration it is, None for the example itself.
    """

    fields: Mapping[str, object]
    words: Mapping[str, str] | None = None
    label: str | None = None
    demo: int | None = None

    def value(self, name: str) -> object:
        """What a field holds.

        Raises:
            TemplateError: nothing; the message names the fields that hold something, the hint near ones.
        """
        value = self.fields.get(name)
        if value is not None:
            return value
        known = [field for field, held in self.fields.items() if held is not None]
        others = "the example has " + (", ".join(f"`{field}`" for field in known) or "none")
        if name in self.fields:
            raise TemplateError(f"field `{name}` is None; {others}", hint='give it a text, "" for none')
        raise TemplateError(f"there is no field `{name}`; {others}", hint=near(name, known))


def filled(piece: Piece, filling: Filling) -> Iterator[Run]:
    """The runs a piece gives: one, or none for `{demos}`.

    Raises:
        TemplateError: what the filling lacks for this piece.
    """
    demo = filling.demo
    match piece:
        case TextPiece(text):
            yield TextRun(text, demo=demo)
        case FieldPiece(name, keep, filters):
            yield TextRun(shown(name, filling.value(name), filters), name, keep, demo)
        case EachPiece(name, keep):
            if filling.words is not None:
                raise TemplateError(f"`{piece}` can't be filled with a word", hint="it takes no demonstrations")
            yield ItemsRun(items(name, filling.value(name)), name, keep, demo)
        case SlotPiece(name):
            yield SlotRun(name, demo) if filling.words is None else TextRun(filling.words[name], demo=demo)
        case PartPiece(name):
            yield PartRun(name, demo)
        case MarkPiece(mark):
            yield MarkRun(mark, demo)
        case LabelPiece():
            if filling.label is None:
                raise TemplateError(
                    "`{label}` has no word here",
                    hint="render it with `label` or `word`; a column called `label` is the target, not a field",
                )
            yield TextRun(filling.label, demo=demo)
        case DemosPiece():
            pass


def merged(runs: Iterable[Run]) -> Runs:
    """The same runs, the template's own words that touch in one run, and none of those empty.

    >>> merged([TextRun("It was "), TextRun("good"), TextRun(""), SlotRun()])
    (TextRun(text='It was good', field=None, keep=False, demo=None), SlotRun(name='', demo=None))
    """
    done: list[Run] = []
    for run in runs:
        last = done[-1] if done else None
        if not isinstance(run, TextRun) or run.field is not None:
            done.append(run)
        elif isinstance(last, TextRun) and last.field is None and last.demo == run.demo:
            done[-1] = TextRun(last.text + run.text, demo=run.demo)
        elif run.text:
            done.append(run)
    return tuple(done)
