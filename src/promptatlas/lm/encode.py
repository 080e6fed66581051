"""Runs to rows: one tokenisation per stretch of text, offsets deciding what may be cut."""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import Lock

from promptatlas.errors import TemplateError, TooLong
from promptatlas.lm.kind import Layout
from promptatlas.lm.row import Row, Slot, Span
from promptatlas.lm.site import InputsPart
from promptatlas.lm.tokens import Pieces, Stretch, Tokenizer
from promptatlas.text.runs import ItemsRun, MarkRun, PartRun, Runs, SlotRun, TextRun

ROWS = 4096  # rows that are remembered


@dataclass
class Block:
    """Tokens that come from one place, on their way into a row; only a cuttable one may lose tokens, from its end."""

    kind: str
    name: str
    ids: list[int]
    demo: int | None = None
    cuttable: bool = False
    slot: bool = False
    heads: list[int] = field(default_factory=list)  # where in the block items begin (tags)
    cut: int = 0

    def shorten(self, by: int) -> None:
        """Drop the last `by` tokens."""
        self.cut += by
        del self.ids[len(self.ids) - by :]
        self.heads = [at for at in self.heads if at < len(self.ids)]


def taken(part: InputsPart) -> int | tuple[int, ...]:
    """A part's length, or its ids where it is real tokens."""
    return part.length if part.ids is None else part.ids


Piece = tuple[Stretch, list[TextRun | ItemsRun]] | SlotRun | PartRun | MarkRun


def encode(
    runs: Sequence[Runs], tokenizer: Tokenizer, layout: Layout, lengths: Mapping[str, int | tuple[int, ...]],
    *, widths: Mapping[str, int], window: int,
) -> list[Row]:  # fmt: skip
    """Rows of these runs; see `LM.encode`. `lengths` has each input part's length, or its ids if it is real tokens."""
    pieces = [_pieces(one, layout) for one in runs]
    stretches = [piece[0] for row in pieces for piece in row if isinstance(piece, tuple)]
    tokens = tokenizer.stretches(stretches)
    return [_row(row, tokens, tokenizer, layout, lengths, widths=widths, window=window) for row in pieces]


class Rows:
    """Rows that were encoded before, the least recently used leaving first: epochs tokenise once."""

    def __init__(self, limit: int = ROWS) -> None:
        """None yet."""
        self.limit = limit
        self._rows: OrderedDict[Hashable, Row] = OrderedDict()
        self._lock = Lock()

    def encode(
        self, runs: Sequence[Runs], tokenizer: Tokenizer, layout: Layout,
        lengths: Mapping[str, int | tuple[int, ...]], *, widths: Mapping[str, int], window: int,
    ) -> list[Row]:  # fmt: skip
        """As `encode`."""
        how = (tuple(sorted(lengths.items())), tuple(sorted(widths.items())), window)
        with self._lock:
            found = {one: self._rows[one, how] for one in runs if (one, how) in self._rows}
        new = [one for one in dict.fromkeys(runs) if one not in found]
        found |= zip(new, encode(new, tokenizer, layout, lengths, widths=widths, window=window), strict=True)
        with self._lock:
            for one in found:
                self._rows[one, how] = found[one]
                self._rows.move_to_end((one, how))
            while len(self._rows) > self.limit:
                self._rows.popitem(last=False)
        return [found[one] for one in runs]


def _pieces(runs: Runs, layout: Layout) -> list[Piece]:
    """Neighbouring runs of text joined into stretches; blanks before a slot left to the answer."""
    layout.check(runs)
    pieces: list[Piece] = []
    texts: list[TextRun | ItemsRun] = []
    start = True
    for run in runs:
        if isinstance(run, TextRun | ItemsRun):
            texts.append(run)
            continue
        start = _flush(pieces, texts, start=start, before_slot=isinstance(run, SlotRun))
        pieces.append(run)
        if layout.kind == "causal" and isinstance(run, SlotRun):
            break  # nothing but blanks and marks can follow, and a slot is read where the text ends
        start = start and not isinstance(run, SlotRun)  # a part or a mark is no text: what follows still starts one
    _flush(pieces, texts, start=start, before_slot=False)
    return pieces


def _flush(pieces: list[Piece], texts: list[TextRun | ItemsRun], *, start: bool, before_slot: bool) -> bool:
    """Make a stretch of the texts so far; whether what follows still starts one."""
    if before_slot:
        _strip(texts)
    text = "".join(_text(one) for one in texts)
    if texts:  # also where all are empty: what leads a row is the template's to say, not the data's
        pieces.append((Stretch(text, start=start), list(texts)))
        start = start and not text
    texts.clear()
    return start


def _strip(texts: list[TextRun | ItemsRun]) -> None:
    """Take the blanks at the very end away."""
    for i in reversed(range(len(texts))):
        run = texts[i]
        if not isinstance(run, TextRun):
            return
        texts[i] = stripped = replace(run, text=run.text.rstrip(" "))
        if stripped.text:
            return


def _text(run: TextRun | ItemsRun) -> str:
    return run.text if isinstance(run, TextRun) else " ".join(run.items)


def _row(
    pieces: Sequence[Piece], tokens: Mapping[Stretch, Pieces], tokenizer: Tokenizer, layout: Layout,
    lengths: Mapping[str, int | tuple[int, ...]], *, widths: Mapping[str, int], window: int,
) -> Row:  # fmt: skip
    blocks: list[Block] = []
    for piece in pieces:
        if isinstance(piece, tuple):
            blocks += _blocks(piece[1], tokens[piece[0]])
        elif isinstance(piece, SlotRun):
            blocks.append(Block("slot", piece.name, layout.hole(widths.get(piece.name, 1)), piece.demo, slot=True))
        elif isinstance(piece, PartRun):
            blocks.append(_part(piece, lengths, tokenizer))
        else:
            blocks.append(Block("mark", piece.mark, list(getattr(tokenizer, piece.mark)), piece.demo))
    blocks = _with_marks(blocks, tokenizer)
    if not any(block.ids for block in blocks):
        blocks.append(Block("mark", "start", list(tokenizer.opening)))
    _fit(blocks, window)
    return layout.row(*_lay(blocks), types=_types(blocks, layout.types))


def _blocks(runs: Sequence[TextRun | ItemsRun], pieces: Pieces) -> list[Block]:
    """A block a run, its tokens those that start inside it."""
    edges, heads, at = [], [], 0
    for run in runs:
        edges.append(at)
        heads.append(_item_starts(run, at))
        at += len(_text(run))
    blocks = [
        Block(
            "field" if run.field else "text", run.field or "", [], run.demo, cuttable=bool(run.field) and not run.keep
        )
        for run in runs
    ]
    for token, start in zip(pieces.ids, pieces.at, strict=True):
        which = bisect_right(edges, start) - 1
        block, starts = blocks[which], heads[which]
        while starts and start >= starts[0]:  # an item the tokenizer drops shares the next one's piece
            block.heads.append(len(block.ids))
            starts.pop(0)
        block.ids.append(token)
    for block, starts in zip(blocks, heads, strict=True):
        block.heads += [len(block.ids) - 1] * len(starts) if block.ids else []
    return blocks


def _item_starts(run: TextRun | ItemsRun, at: int) -> list[int]:
    if isinstance(run, TextRun):
        return []
    starts = []
    for item in run.items:
        starts.append(at)
        at += len(item) + 1
    return starts


def _part(run: PartRun, lengths: Mapping[str, int | tuple[int, ...]], tokenizer: Tokenizer) -> Block:
    if run.name not in lengths:
        known = ", ".join(f"`{name}`" for name in sorted(lengths)) or "none"
        raise TemplateError(
            f"the template names the part `{run.name}`, which the prompt does not have",
            hint=f"its input parts: {known}",
        )
    length = lengths[run.name]
    if isinstance(length, tuple):
        return Block("text", run.name, list(length), run.demo)
    return Block("part", run.name, [tokenizer.filler] * length, run.demo)


def _with_marks(blocks: list[Block], tokenizer: Tokenizer) -> list[Block]:
    """The automatic marks, where the template doesn't write them: the start after leading parts, the end last."""
    written = {block.name for block in blocks if block.kind == "mark"}
    if "start" not in written and tokenizer.start:
        at = next((i for i, block in enumerate(blocks) if block.kind != "part"), len(blocks))
        blocks = [*blocks[:at], Block("mark", "start", list(tokenizer.start)), *blocks[at:]]
    if "end" not in written and tokenizer.end:
        blocks = [*blocks, Block("mark", "end", list(tokenizer.end))]
    return blocks


def _fit(blocks: Sequence[Block], window: int) -> None:
    """Cut what may be cut, in proportion to its tokens, until the row fits."""
    total = sum(len(block.ids) for block in blocks)
    over = total - window
    if over <= 0:
        return
    soft = [block for block in blocks if block.cuttable and block.ids]
    have = sum(len(block.ids) for block in soft)
    if over > have:
        fixed = total - have
        raise TooLong(
            f"a row needs {fixed} positions for what may not be cut, and the model has room for {window}"
            + (f" (with the {have} of its fields that may be cut it is {total})" if have else ""),
            hint="shorten the template or what was learned for it (`length`), show fewer demonstrations, or drop the "
            "`!` from a field so that it may be cut",
        )
    shares = [over * len(block.ids) / have for block in soft]
    drops = [int(share) for share in shares]
    rest = sorted(range(len(soft)), key=lambda i: (drops[i] - shares[i], i))[: over - sum(drops)]
    for i, block in enumerate(soft):
        if by := drops[i] + (i in rest):
            block.shorten(by)


def _lay(blocks: Sequence[Block]) -> tuple[list[int], list[Slot], list[Span]]:
    ids: list[int] = []
    slots: list[Slot] = []
    spans: list[Span] = []
    for block in blocks:
        start = len(ids)
        ids += block.ids
        spans.append(Span(block.kind, block.name, start, len(ids), block.demo, block.cut))
        if block.slot:
            slots.append(Slot(block.name, tuple(range(start, len(ids)))))
        slots += [Slot(block.name, (start + at,)) for at in block.heads]
    return ids, slots, spans


def _types(blocks: Sequence[Block], segments: int) -> list[int]:
    """Segment ids: the second segment begins after the first separator, where the family knows segments at all."""
    types: list[int] = []
    segment = 0
    for block in blocks:
        types += [segment] * len(block.ids)
        if segments > 1 and block.kind == "mark" and block.name == "sep":
            segment = 1
    return types
