"""What no step of training changes: a frozen body's states under a trained head or trained label vectors.

They are read once, without gradients, and kept for the epochs to come as far as the bound goes; what is learned is
applied to them anew every time.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from promptatlas.lm.ask import Against, Ask, Hidden, Job, Read, Reading
from promptatlas.lm.kept import casting, held, made, trained

if TYPE_CHECKING:
    from promptatlas.lm.local import LocalLM


def split(lm: "LocalLM", jobs: Sequence[Job]) -> tuple[list[int], list[int]]:
    """Indices of jobs whose reading no gradient goes through but at its very end, and of the others."""
    if not torch.is_grad_enabled() or not lm.kept.limit:
        return [], list(range(len(jobs)))
    touching = {id(part): part for job in jobs for part in job.parts.values() if part.site != "head"}
    changing = {key for key, part in touching.items() if _changes(part)}
    constant: list[int] = []
    others: list[int] = []
    for i, job in enumerate(jobs):
        fixed = not any(id(part) in changing for part in job.parts.values())
        fixed = fixed and (lm.bare or not any(isinstance(ask, Against) for ask in job.asks))
        (constant if fixed else others).append(i)
    return constant, others


def _changes(part: object) -> bool:
    drops = isinstance(part, nn.Module) and any(isinstance(one, nn.Dropout) and one.training for one in part.modules())
    return drops or trained(part)


def read(lm: "LocalLM", jobs: Sequence[Job], plain: Callable[[Sequence[Job]], list[Reading]]) -> list[Reading]:
    """Readings of constant jobs: what was kept, what `plain` reads of the others, and what is learned on top."""
    keys = [_key(lm, job) for job in jobs]
    found: dict[Hashable, Reading] = {key: kept for key in keys if (kept := lm.kept.get(key)) is not None}
    new = {key: Job(job.row, tuple(map(_fixed, job.asks)), job.parts) for key, job in zip(keys, jobs, strict=True)}
    new = {key: job for key, job in new.items() if key not in found}
    with torch.no_grad():
        readings = plain(list(new.values()))
    for (key, job), reading in zip(new.items(), readings, strict=True):
        found[key] = reading
        tensors = [tensor for one in reading for tensor in (one.values, one.total) if tensor is not None]
        lm.kept.put(key, reading, tensors, held(job.parts))
    return [
        tuple(_learned(lm, ask, one) for ask, one in zip(job.asks, found[key], strict=True))
        for key, job in zip(keys, jobs, strict=True)
    ]


def _fixed(ask: Ask) -> Ask:
    """What there is to read before anything learned: of learned rows, what they are held against."""
    return Hidden(at="head") if isinstance(ask, Against) else ask


def _learned(lm: "LocalLM", ask: Ask, read: Read) -> Read:
    if not isinstance(ask, Against):
        return read
    states = read.values
    bias = None if ask.bias is None else ask.bias.to(states)
    return Read(nn.functional.linear(states, ask.vectors.to(states), bias).float())


def _key(lm: "LocalLM", job: Job) -> Hashable:
    """What a reading is made from: the row, the asks, and the parts that touch the model."""
    touching: Mapping[str, Hashable] = {name: made(part) for name, part in job.parts.items() if part.site != "head"}
    parts = tuple(sorted(touching.items(), key=str))
    return "reading", casting(lm.device), job.row, tuple(map(_fixed, job.asks)), parts
