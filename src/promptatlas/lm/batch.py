"""Jobs to batches: grouped by what they do to the weights, longest first, by budget; what a batch puts in flight."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from promptatlas.errors import CannotAttach, ModelError
from promptatlas.lm.ask import Against, Ask, Given, Hidden, Job, Places, Tokens, Vocabulary
from promptatlas.lm.beginnings import Layers
from promptatlas.lm.doors import Points, Prefixes, Splice
from promptatlas.lm.lines import Line
from promptatlas.lm.lm import LM, Kind
from promptatlas.lm.sheet import Sheet
from promptatlas.lm.shift import shift
from promptatlas.lm.site import AttentionPart, InputsPart, Part

SLACK = 0.6  # a row shorter than this share of its batch's longest starts a batch of its own,
WORTH = 16  # once the batch has this many rows and so is worth a pass


def groups(jobs: Sequence[Job]) -> Iterator[list[int]]:
    """Indices of jobs that can share passes: same weights, same hooks, positions moved by as much."""
    found: dict[tuple[object, ...], list[int]] = {}
    for i, job in enumerate(jobs):
        touching = [(name, id(part)) for name, part in job.parts.items() if part.site in ("weights", "activations")]
        found.setdefault((*sorted(touching), shift(job.parts)), []).append(i)
    yield from found.values()


def batches(sizes: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Indices by size, the largest first, so that memory runs out at once or never; `budget` positions with padding."""
    now: list[int] = []
    longest = 0
    for i in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        if now and ((len(now) + 1) * longest > budget or (len(now) >= WORTH and sizes[i] < SLACK * longest)):
            yield now
            now = []
        if not now:
            longest = sizes[i]
        now.append(i)
    if now:
        yield now


def size(line: Line, kind: Kind) -> int:
    """Positions that a line takes, its text's and its answers'."""
    return len(line) + (len(line.job.row) if kind == "seq2seq" else 0)


class Tables:
    """All vectors of the input parts of some lines, as one table, and where in it each line finds its own."""

    def __init__(self, lm: LM, lines: Sequence[Line]) -> None:
        """Ask every part once."""
        users: dict[int, tuple[InputsPart, list[Line]]] = {}
        for line in lines:
            for name in dict.fromkeys(span.name for span in line.job.row.spans if span.kind == "part"):
                part = line.job.parts[name]
                users.setdefault(id(part), (cast(InputsPart, part), []))[1].append(line)
        self._first: dict[int, int] = {}
        self._stride: dict[int, tuple[int, dict[int, int]]] = {}
        self.trained: set[int] = set()
        tables: list[Tensor] = []
        total = 0
        for key, (part, some) in users.items():
            if part.length == 0:
                continue
            found = part.vectors(lm, [line.job.row for line in some]).to(lm.device)
            self._first[key] = total
            if found.dim() == 3:  # made from each row
                self._stride[key] = (found.shape[1], {id(line.job): i for i, line in enumerate(some)})
            if found.requires_grad and torch.is_grad_enabled():
                self.trained.add(key)
            tables.append(found.reshape(-1, found.shape[-1]))
            total += len(tables[-1])
        self.table = torch.cat(tables) if len(tables) > 1 else tables[0] if tables else None

    def by_row(self, part: Part) -> bool:
        """Whether a part's vectors are made from each row."""
        return id(part) in self._stride

    def place(self, line: Line, part: Part) -> int:
        """Where in the table a line's vectors of a part begin."""
        length, which = self._stride.get(id(part), (0, {}))
        return self._first[id(part)] + (length * which[id(line.job)] if which else 0)

    def splice(self, lm: LM, lines: Sequence[Line], sheet: Sheet) -> Splice | None:
        """Which vectors go where on a sheet; None where none do."""
        spans = [
            (i, line, span)
            for i, line in enumerate(lines)
            for span in line.job.row.spans
            if span.kind == "part"
            and span.start < min(span.end, line.begin + sheet.lengths[i])
            and span.end > line.begin
        ]
        if not spans or self.table is None:
            return None
        index = torch.zeros(sheet.ids.shape, dtype=torch.long)
        where = torch.zeros(sheet.ids.shape, dtype=torch.bool)
        for i, line, span in spans:
            start, stop = max(span.start, line.begin), min(span.end, line.begin + sheet.lengths[i])
            row, column = sheet.at(i, start - line.begin)
            first = self.place(line, line.job.parts[span.name]) + start - span.start
            index[row, column : column + stop - start] = torch.arange(first, first + stop - start)
            where[row, column : column + stop - start] = True
        return Splice(self.table, index.to(lm.device), where.to(lm.device))


def prefixed(lm: LM, lines: Sequence[Line], fronts: Sequence[Layers | None] | None = None) -> dict[str, Prefixes]:
    """What attention sees in front of each line, by place: its prefix part, and the beginning it goes on from."""
    mine = [
        (front_part(line.job.parts), front) for line, front in zip(lines, fronts or [None] * len(lines), strict=True)
    ]
    parts = {id(part): part.prefix(lm) for part, _ in mine if part is not None}  # once a part, not once a line
    distinct = {
        (id(part), id(front)): (parts.get(id(part), {}), front)
        for part, front in mine
        if part is not None or front is not None
    }
    if not distinct:
        return {}
    order = {key: i for i, key in enumerate(distinct)}
    which = [order.get((id(part), id(front)), -1) for part, front in mine]
    found = [_joined(prefix, front) for prefix, front in distinct.values()]
    places = {place for one in found for place in one}
    return {place: _stack([one.get(place) for one in found], which, lm.device) for place in places}


def _joined(prefix: Mapping[str, Layers], front: Layers | None) -> Mapping[str, Layers]:
    if front is None or not prefix:
        return prefix if front is None else {"self": front}
    pairs = zip(prefix["self"], front, strict=True)
    return {"self": [(torch.cat([a[0].to(b[0]), b[0]], 1), torch.cat([a[1].to(b[1]), b[1]], 1)) for a, b in pairs]}


def front_part(parts: Mapping[str, Part]) -> AttentionPart | None:
    """The prefix among some parts. Raises CannotAttach where there are several."""
    found = [name for name, part in parts.items() if part.site == "attention"]
    if len(found) > 1:
        raise CannotAttach(
            f"a row can have one prefix, and these parts are all prefixes: {', '.join(found)}",
            hint="join them into one",
        )
    return cast(AttentionPart, parts[found[0]]) if found else None


def _stack(found: Sequence[Layers | None], which: Sequence[int], device: torch.device) -> Prefixes:
    """Layers of one place for every row: shared where all rows have the same, else gathered and padded."""
    if len(found) == 1 and found[0] is not None and min(which) == 0:
        return Prefixes([(key.to(device)[None], value.to(device)[None]) for key, value in found[0]], None)
    some = next(one for one in found if one is not None)
    lengths = [one[0][0].shape[1] if one is not None else 0 for one in found]
    longest = max(lengths)
    rows = torch.tensor(which, device=device)
    layers = []
    for layer in range(len(some)):
        stacked = []
        for side in (0, 1):
            table = [
                _longer(
                    one[layer][side].to(device) if one is not None else some[layer][side].to(device)[:, :0], longest
                )
                for one in found
            ]
            stacked.append(torch.stack(table)[rows.clamp(min=0)])  # [rows, heads, length, dim]
        layers.append((stacked[0], stacked[1]))
    # -1 picks the last size: a row without a prefix sees nothing of it
    sizes = torch.tensor([*lengths, 0], device=device)[rows]
    return Prefixes(layers, torch.arange(longest, device=device)[None] < sizes[:, None])


def _longer(one: Tensor, length: int) -> Tensor:
    return torch.nn.functional.pad(one, (0, 0, 0, length - one.shape[1]))


@dataclass
class Wanted:
    """What each job of a batch wants of the head: its points, and the columns over all."""

    points: list[list[tuple[int, int]]]  # a job and ask each: (row, column)
    ids: tuple[int, ...]
    all_ids: bool
    against: list[tuple[Against, list[int]]]  # learned rows, and the points they are for
    states: bool
    chosen: tuple[int, ...]  # a token a point, where nothing else is asked of any point; else empty

    def points_tensor(self, device: torch.device) -> Points | None:
        """The whole batch's request, or None where no ask goes through the head."""
        flat = [point for points in self.points for point in points]
        if not flat or not (self.ids or self.all_ids or self.against or self.states):
            return None
        at = torch.tensor(flat, device=device)
        ids = torch.tensor(self.ids, device=device) if self.ids and not self.all_ids else None
        if self.chosen:
            chosen = torch.tensor(self.chosen, device=device)
            return Points(at[:, 0], at[:, 1], None, all_ids=False, chosen=chosen)
        against = [
            (one.vectors.to(device), None if one.bias is None else one.bias.to(device),
             torch.tensor(points, device=device))
            for one, points in self.against
        ]  # fmt: skip
        return Points(at[:, 0], at[:, 1], ids, self.all_ids, against)


def wanted(asked: Sequence[tuple[Job, Callable[[Ask], list[tuple[int, int]]]]], *, choose: bool) -> Wanted:
    """Gather the asks of a batch that go through the head.

    Args:
        asked: jobs, and where on the sheet each of their asks is read.
        choose: whether chosen tokens may be scored alone.
    """
    points: list[list[tuple[int, int]]] = []
    ids: dict[int, None] = {}
    against: dict[tuple[int, int], tuple[Against, list[int]]] = {}
    everything = states = False
    count = 0
    for job, where in asked:
        for ask in job.asks:
            points.append(where(ask))
            if isinstance(ask, Tokens):
                ids.update(dict.fromkeys(ask.ids))
                everything |= ask.mass
            everything |= isinstance(ask, Given | Places | Vocabulary)
            if isinstance(ask, Against):
                against.setdefault(learned(ask), (ask, []))[1].extend(range(count, count + len(points[-1])))
            states |= isinstance(ask, Hidden) and ask.at == "head"
            count += len(points[-1])
    asks = [(ask, job) for job, _ in asked for ask in job.asks]
    alone = choose and not (states or against) and not any(isinstance(ask, Tokens | Vocabulary) for ask, _ in asks)
    chosen = tuple(i for ask, job in asks for i in _chosen(ask, job)) if alone else ()
    return Wanted(points, tuple(ids), everything, list(against.values()), states, chosen)


def _chosen(ask: Ask, job: Job) -> tuple[int, ...]:
    return ask.ids if isinstance(ask, Places) else job.row.answer if isinstance(ask, Given) else ()


def learned(ask: Against) -> tuple[int, int]:
    """Tells learned rows apart: those of every job that asks alike are one block of columns."""
    return id(ask.vectors), id(ask.bias)


def positions(ask: Ask, job: Job, line: Line, kind: Kind) -> list[int]:
    """Tokens of a line (the decoder's, in a seq2seq model) whose head output an ask needs."""
    row = job.row
    if isinstance(ask, Places):
        return list(ask.positions)
    if isinstance(ask, Hidden) and ask.at != "head":
        return []
    if isinstance(ask, Vocabulary) and ask.last:
        return positions(Given(), job, line, kind)[-1:]
    if not isinstance(ask, Given):
        return [at for slot in row.slots for at in slot.positions]
    if not row.slots:
        raise ModelError("an answer was given to a row without a slot", hint="put {mask} in the template")
    at = row.slots[0].positions
    if kind != "masked":
        return line.path(row.answer) if at[-1] == line.stem - 1 else [at[-1] + i for i in range(len(row.answer))]
    if len(at) != len(row.answer):
        raise ModelError(
            f"an answer of {len(row.answer)} tokens was given to a slot of {len(at)} masks",
            hint="encode the row with as many masks: `widths={slot: tokens}`",
        )
    return list(at)
