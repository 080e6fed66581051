"""A model's layers as blocks: entered above those whose states are known, left below those not wanted, or run twice.

Installed once, like the other doors (see `doors`); a pass that says nothing of layers runs them all as they are.
"""

import re
from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from promptatlas.lm.doors import FLIGHT, Stopped, flying
from promptatlas.lm.kept import casting, made, trained
from promptatlas.lm.lines import Line
from promptatlas.lm.sheet import Sheet
from promptatlas.lm.site import Part

if TYPE_CHECKING:
    from promptatlas.lm.local import LocalLM

BLOCK = re.compile(r"^(.*?\.\d+)(?=\.)")


@dataclass
class Layers:
    """What a pass does with a model's blocks.

    Attributes:
        enter: the first block that is run; `states` go in.
        states: [rows, length, hidden] of the sheet.
        stop: the block in front of which the pass ends; what would go in is put into `states`.
        again: where gradients are wanted, forget what is inside a block and run it again for them; the context is that
            of the pass (its weights).
    """

    enter: int = 0
    states: Tensor | None = None
    stop: int | None = None
    again: Callable[[], AbstractContextManager[None]] | None = None


def install(lm: "LocalLM") -> list[str]:
    """Names of a model's blocks in order, each with its door; none where layers share their weights."""
    names = {id(module): name for name, module in lm.model.named_modules()}
    places = [
        (*module._promptatlas_place, names[id(module)])
        for module in lm.model.modules()
        if hasattr(module, "_promptatlas_place")
    ]
    order = {"self": 0, "encoder": 0, "decoder": 1, "cross": 1}
    found: dict[str, None] = {}
    for _, layer, name in sorted(places, key=lambda one: (order[one[0]], one[1])):
        match = BLOCK.match(name)
        if layer < 0 or match is None:
            return []
        found[match[1]] = None
    for i, name in enumerate(found):
        block = lm.model.get_submodule(name)
        block.forward = _door(i, block.forward)
    return list(found)


def _door(i: int, plain: Callable[..., Any]) -> Callable[..., Any]:
    several = 0  # how many things the block hands on, where it is a tuple

    def run(*args: Any, **settings: Any) -> Any:
        nonlocal several
        flight = FLIGHT.get()
        layers = flight.layers if flight else None
        if layers is None:
            return plain(*args, **settings)
        if layers.stop == i:
            layers.states = args[0] if args else settings["hidden_states"]
            raise Stopped
        if i < layers.enter:
            states = args[0] if args else settings["hidden_states"]
            return (states, *[None] * (several - 1)) if several else states
        if i == layers.enter and layers.states is not None:
            args, settings = _entered(args, settings, layers.states)
        if layers.again is not None and torch.is_grad_enabled():
            again = layers.again

            def twice(*args: Any, **settings: Any) -> Any:
                with flying(flight), again():  # type: ignore[arg-type]
                    return plain(*args, **settings)

            return checkpoint(twice, *args, use_reentrant=False, **settings)
        out = plain(*args, **settings)
        several = len(out) if isinstance(out, tuple) else 0
        return out

    return run


def _entered(args: tuple[Any, ...], settings: dict[str, Any], states: Tensor) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return ((states, *args[1:]), settings) if args else (args, {**settings, "hidden_states": states})


def lowest(blocks: Sequence[str], names: Iterable[str]) -> int:
    """The first block that one of these parameters is in; 0 for one that is in none."""
    of = {name: i for i, name in enumerate(blocks)}
    found = [of.get(match[1], 0) if (match := BLOCK.match(name)) else 0 for name in names]
    return min(found, default=0)


def key(lm: "LocalLM", line: Line, floor: int) -> Hashable:
    """What the states that enter block `floor` of a line are made from."""
    row = line.job.row
    spans = tuple((one.start, one.end, one.name) for one in row.spans if one.kind == "part")
    parts = tuple((name, _below(part)) for name, part in sorted(line.job.parts.items()) if part.site != "head")
    return "states", floor, casting(lm.device), tuple(line.ids), tuple(line.parents), row.types, spans, parts


def _below(part: Part) -> Hashable:
    """What of a part can change states below the lowest layer it is trained in: what of it isn't trained."""
    if not isinstance(part, nn.Module) or not trained(part):
        return made(part)
    return id(part), tuple((id(one), one._version) for one in part.parameters() if not one.requires_grad)


def laid(states: Sequence[Tensor], sheet: Sheet) -> Tensor:
    """[rows, length, hidden]: states of lines, each [length, hidden], as the lines lie on a sheet."""
    if sheet.pack is not None:
        return torch.cat(list(states))[None]
    found = states[0].new_zeros(*sheet.ids.shape, states[0].shape[-1])
    for (row, column), one in zip(sheet.starts, states, strict=True):
        found[row, column : column + len(one)] = one
    return found
