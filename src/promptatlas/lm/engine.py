"""What a read costs: which jobs need a pass at all, which ways it may take, and in what batches."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from promptatlas.lm import batch as batching
from promptatlas.lm import constant
from promptatlas.lm.ask import Job, Reading
from promptatlas.lm.blocks import lowest
from promptatlas.lm.kept import trained
from promptatlas.lm.lines import Line, lined
from promptatlas.lm.reading import Pass
from promptatlas.lm.share import Shared
from promptatlas.lm.site import Part
from promptatlas.lm.ways import Ways

if TYPE_CHECKING:
    from promptatlas.lm.local import LocalLM

BIASED = 2048  # positions of a packed pass where a bias of distances is made for all pairs of them


def read(lm: "LocalLM", jobs: Sequence[Job]) -> list[Reading]:
    """A reading a job, in order, with no work its answer doesn't need."""
    ways = lm.fast.ways
    fixed, others = constant.split(lm, jobs)
    if not fixed:
        return read_by(lm, jobs, ways)
    found = dict(zip(others, read_by(lm, [jobs[i] for i in others], ways), strict=True))
    readings = constant.read(lm, [jobs[i] for i in fixed], lambda some: read_by(lm, some, ways))
    found |= zip(fixed, readings, strict=True)
    return [found[i] for i in range(len(jobs))]


def read_by(lm: "LocalLM", jobs: Sequence[Job], ways: Ways) -> list[Reading]:
    """The same by these ways alone, nothing being taken for constant."""
    found: dict[int, Reading] = {}
    for group in batching.groups(jobs):
        parts = {name: one for name, one in jobs[group[0]].parts.items() if one.site in ("weights", "activations")}
        overrides, after = lm.touching(parts)
        with lm.weights.swapped(overrides):
            for readings in _group(lm, jobs, group, ways, parts, overrides, after):
                found |= readings
    return [found[i] for i in range(len(jobs))]


def _group(
    lm: "LocalLM", jobs: Sequence[Job], group: Sequence[int], ways: Ways, parts: Mapping[str, Part],
    overrides: Mapping[str, Tensor], after: Mapping[str, Any],
) -> Iterator[dict[int, Reading]]:  # fmt: skip
    """Jobs under the same weights and hooks."""
    near = lm.kind == "seq2seq" or all(len(jobs[i].row) + len(jobs[i].row.answer) <= lm.reach for i in group)
    lines = lined(jobs, group, lm.kind, branch=ways.branch and near)
    tables = batching.Tables(lm, lines)
    floor = 0 if after or tables.trained else _floor(lm, lines, overrides)
    again = partial(lm.weights.swapped, overrides) if lm.checkpointing and lm.blocks else None
    run = Pass(lm, jobs, tables, after, ways.pack, floor, again)
    budget = min(lm.budget, BIASED) if ways.pack and lm.biased else lm.budget
    if ways.share and near and not floor:
        moving = any(one.requires_grad for one in overrides.values()) or any(map(trained, parts.values()))
        yield from Shared(run, budget, lm.kept, parts, moving).readings(lines)
        return
    for some in batching.batches([batching.size(line, lm.kind) for line in lines], budget):
        yield run.read([lines[i] for i in some])


def _floor(lm: "LocalLM", lines: Sequence[Line], overrides: Mapping[str, Tensor]) -> int:
    """How many blocks no gradient goes through, where what enters the next may be kept."""
    moving = [name for name, one in overrides.items() if one.requires_grad]
    if not moving or not torch.is_grad_enabled() or lm.kind == "seq2seq" or not lm.kept.limit or not lm.fast.ways.pack:
        return 0
    if any(trained(batching.front_part(line.job.parts)) for line in lines):
        return 0
    return lowest(lm.blocks, moving)
