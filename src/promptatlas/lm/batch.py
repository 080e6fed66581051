"""Jobs to batches: grouped by what they do to the weights, longest first, by budget; and each batch as tensors."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from promptatlas.errors import CannotAttach, ModelError
from promptatlas.lm.ask import Against, Ask, Given, Hidden, Job, Places, Tokens, Vocabulary
from promptatlas.lm.doors import Points, Prefixes, Splice
from promptatlas.lm.lm import LM
from promptatlas.lm.row import Row
from promptatlas.lm.site import AttentionPart, InputsPart, Part

SLACK = 0.6  # a row shorter than this share of its batch's longest starts a batch of its own,
WORTH = 16  # once the batch has this many rows and so is worth a pass


def groups(jobs: Sequence[Job]) -> Iterator[list[int]]:
    """Indices of jobs that can share passes: same weights, same hooks."""
    found: dict[tuple[tuple[str, int], ...], list[int]] = {}
    for i, job in enumerate(jobs):
        found.setdefault(
            tuple(
                sorted((name, id(part)) for name, part in job.parts.items() if part.site in ("weights", "activations"))
            ),
            [],
        ).append(i)
    yield from found.values()


def batches(jobs: Sequence[Job], indices: Sequence[int], budget: int) -> Iterator[list[int]]:
    """The longest first, so that memory runs out at once or never; at most `budget` positions each, padding counted."""
    now: list[int] = []
    longest = 0
    for i in sorted(indices, key=lambda i: -size(jobs[i])):
        length = size(jobs[i])
        if now and ((len(now) + 1) * longest > budget or (len(now) >= WORTH and length < SLACK * longest)):
            yield now
            now = []
        if not now:
            longest = length
        now.append(i)
    if now:
        yield now


def size(job: Job) -> int:
    """Positions of a job's row, its answer included."""
    return len(job.row) + len(job.row.feed) + len(job.row.answer)


def ids_of(row: Row, kind: str) -> tuple[int, ...]:
    """What goes into the model: the row, and a causal row's answer but for its last token, which predicts no more."""
    return row.ids + row.answer[:-1] if kind == "causal" else row.ids


def padded(rows: Sequence[Sequence[int]], fill: int, *, left: bool, device: torch.device) -> tuple[Tensor, Tensor]:
    """[rows, length] of ids, and [rows, length] of what is real."""
    length = max(map(len, rows))
    pads = [[fill] * (length - len(row)) for row in rows]
    ids = torch.tensor(
        [[*pad, *row] if left else [*row, *pad] for pad, row in zip(pads, rows, strict=True)], device=device
    )
    sizes = torch.tensor([len(row) for row in rows], device=device)[:, None]
    at = torch.arange(length, device=device)[None]
    return ids, (at >= length - sizes if left else at < sizes)


def spliced(lm: LM, jobs: Sequence[Job], shape: tuple[int, int], offsets: Sequence[int]) -> Splice | None:
    """One table of all vectors in the batch, and where each goes."""
    tables: list[Tensor] = []
    made: dict[
        tuple[str, int], tuple[int, int, int]
    ] = {}  # part -> its first row in the table, its length, its stride by row
    index = torch.zeros(shape, dtype=torch.long)
    where = torch.zeros(shape, dtype=torch.bool)
    total = 0
    for i, job in enumerate(jobs):
        for span in job.row.spans:
            if span.kind != "part" or span.end == span.start:
                continue
            part = job.parts[span.name]
            key = (span.name, id(part))
            if key not in made:
                found = _vectors(lm, part, [one.row for one in jobs])
                made[key] = (total, found.shape[-2], found.shape[-2] if found.dim() == 3 else 0)
                tables.append(found.reshape(-1, found.shape[-1]))
                total += tables[-1].shape[0]
            first, length, stride = made[key]
            start = span.start + offsets[i]
            index[i, start : start + length] = torch.arange(first + stride * i, first + stride * i + length)
            where[i, start : start + length] = True
    if not tables:
        return None
    return Splice(torch.cat(tables), index.to(lm.device), where.to(lm.device))


def _vectors(lm: LM, part: Part, rows: Sequence[Row]) -> Tensor:
    return cast(InputsPart, part).vectors(lm, rows).to(lm.device)


def prefixed(lm: LM, jobs: Sequence[Job]) -> dict[str, Prefixes]:
    """Prefixes of the batch by place; rows with shorter ones or none don't see the rest."""
    mine = [_attention_part(job.parts) for job in jobs]
    distinct = list({id(part): part for part in mine if part is not None}.values())
    if not distinct:
        return {}
    order = {id(part): i for i, part in enumerate(distinct)}
    which = [-1 if part is None else order[id(part)] for part in mine]
    found = [part.prefix(lm) for part in distinct]  # once a part, not once a row
    places = {place for one in found for place in one}
    return {place: _stack([one.get(place) for one in found], which, lm.device) for place in places}


def _attention_part(parts: Mapping[str, Part]) -> AttentionPart | None:
    found = [name for name, part in parts.items() if part.site == "attention"]
    if len(found) > 1:
        raise CannotAttach(
            f"a row can have one prefix, and these parts are all prefixes: {', '.join(found)}",
            hint="join them into one",
        )
    return cast(AttentionPart, parts[found[0]]) if found else None


def _stack(
    found: Sequence[Sequence[tuple[Tensor, Tensor]] | None], which: Sequence[int], device: torch.device
) -> Prefixes:
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

    points: list[list[tuple[int, int]]]  # a job and ask each: (row, position)
    ids: tuple[int, ...]
    all_ids: bool
    against: list[Against]
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
        against = [(one.vectors.to(device), None if one.bias is None else one.bias.to(device)) for one in self.against]
        return Points(at[:, 0], at[:, 1], ids, self.all_ids, against)


def wanted(jobs: Sequence[Job], offsets: Sequence[int], kind: str, *, choose: bool) -> Wanted:
    """Gather the asks of a batch that go through the head; `choose`: whether it may score chosen tokens alone."""
    points: list[list[tuple[int, int]]] = []
    ids: dict[int, None] = {}
    against: dict[tuple[int, int], Against] = {}
    everything = states = False
    for i, job in enumerate(jobs):
        for ask in job.asks:
            points.append([(i, at + offsets[i]) for at in positions(ask, job.row, kind)])
            if isinstance(ask, Tokens):
                ids.update(dict.fromkeys(ask.ids))
                everything |= ask.mass
            everything |= isinstance(ask, Given | Places | Vocabulary)
            if isinstance(ask, Against):
                against[learned(ask)] = ask
            states |= isinstance(ask, Hidden) and ask.at == "head"
    asks = [(ask, job.row) for job in jobs for ask in job.asks]
    alone = choose and not (states or against) and not any(isinstance(ask, Tokens | Vocabulary) for ask, _ in asks)
    chosen = tuple(i for ask, row in asks for i in _chosen(ask, row)) if alone else ()
    return Wanted(points, tuple(ids), everything, list(against.values()), states, chosen)


def _chosen(ask: Ask, row: Row) -> tuple[int, ...]:
    return ask.ids if isinstance(ask, Places) else row.answer if isinstance(ask, Given) else ()


def learned(ask: Against) -> tuple[int, int]:
    """Tells learned rows apart: those of every job that asks alike are one block of columns."""
    return id(ask.vectors), id(ask.bias)


def positions(ask: Ask, row: Row, kind: str) -> list[int]:
    """Positions of the row (the decoder's, in a seq2seq model) whose head output an ask needs."""
    if isinstance(ask, Places):
        return list(ask.positions)
    if isinstance(ask, Hidden) and ask.at != "head":
        return []
    if isinstance(ask, Given):
        return _answer(row, kind)
    return [at for slot in row.slots for at in slot.positions]


def _answer(row: Row, kind: str) -> list[int]:
    """Where each token of a row's answer is read."""
    if not row.slots:
        raise ModelError("an answer was given to a row without a slot", hint="put {mask} in the template")
    at = row.slots[0].positions
    if kind != "masked":
        return [at[-1] + i for i in range(len(row.answer))]
    if len(at) != len(row.answer):
        raise ModelError(
            f"an answer of {len(row.answer)} tokens was given to a slot of {len(at)} masks",
            hint="encode the row with as many masks: `widths={slot: tokens}`",
        )
    return list(at)
