"""Several processes training one set of parts: each takes its share of every logical batch, gradients are summed.

One process (no launcher's variables in the environment) pays nothing. The parts are no single module, so nothing can be
wrapped: one sum a step over all gradients, laid end to end, does it.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import reduce
from torch import Tensor, nn

Item = TypeVar("Item")


@dataclass(frozen=True)
class World:
    """Which of how many processes this is."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one process that writes."""
        return self.rank == 0

    def share(self, items: Sequence[Item]) -> Sequence[Item]:
        """This process's stretch of the items; the shares are disjoint and together all."""
        return items[self.rank * len(items) // self.size : (self.rank + 1) * len(items) // self.size]

    def wait(self) -> None:
        """Until every process is here."""
        if self.size > 1:
            PartialState().wait_for_everyone()


def world(device: torch.device) -> World:
    """The processes a launcher (`accelerate launch`, `torchrun`) started; one where none did."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 and not _initialised():
        return World()
    state = PartialState(cpu=device.type == "cpu")
    return World(state.process_index, state.num_processes)


def writes() -> bool:
    """Whether this is the one process that writes what all have in common."""
    return int(os.environ.get("RANK", "0")) == 0


def total(values: Tensor, among: World) -> Tensor:
    """The sum over all processes."""
    return values if among.size == 1 else _sum(values)


def sum_gradients(parameters: Sequence[nn.Parameter], figures: Tensor, among: World) -> Tensor:
    """Sum every gradient over all processes, in place, and with it some figures, which come back summed.

    A parameter that no process has a gradient for keeps none, as it would in one process.
    """
    if among.size == 1:
        return figures
    gradients = [torch.zeros_like(one) if one.grad is None else one.grad for one in parameters]
    there = figures.new_tensor([one.grad is not None for one in parameters])
    flat = _sum(torch.cat([figures, there, *(one.flatten().to(figures.dtype) for one in gradients)]))
    at = len(figures) + len(parameters)
    for one, seen in zip(parameters, flat[len(figures) : at].tolist(), strict=True):
        one.grad = flat[at : at + one.numel()].view_as(one).to(one.dtype) if seen else None
        at += one.numel()
    return flat[: len(figures)]


def _sum(values: Tensor) -> Tensor:
    summed: Tensor = reduce(values, reduction="sum")
    return summed


def _initialised() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()
