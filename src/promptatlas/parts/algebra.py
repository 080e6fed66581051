"""Soft prompts and prefixes as things to reckon with: concatenated, averaged, interpolated, started from another.

Nothing given is changed; what comes out is a part of its own, to be used or trained.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from promptatlas.errors import SettingError
from promptatlas.lm.lm import LM
from promptatlas.parts.prefix import Prefix, of_tokens, roomy
from promptatlas.parts.vectors import Vectors, drawn, vocabulary

Soft = TypeVar("Soft", Vectors, Prefix)


def concatenated(parts: Sequence[Soft]) -> Soft:
    """One part of all positions, in this order: its length is the sum of theirs.

    Raises:
        SettingError: no parts, or parts that don't go together: of other kinds, widths, places or positions.
    """
    return _made(parts, lambda values: torch.cat(list(values), -2), alike=False)


def averaged(parts: Sequence[Soft], weights: Sequence[float] = ()) -> Soft:
    """The mean of parts of one length, position by position; weighted by weights that need not sum to 1.

    Raises:
        SettingError: as `concatenated`, parts of different lengths, or weights that aren't one each or sum to 0.
    """
    given = list(weights) or [1.0] * len(parts)
    if len(given) != len(parts) or (given and not sum(given)):
        raise SettingError(f"{len(given)} weights for {len(parts)} parts: {given}", hint="one each, not summing to 0")
    shares = torch.tensor(given) / sum(given)
    return _made(parts, lambda values: torch.tensordot(shares, torch.stack(list(values)), 1), alike=True)


def interpolated(start: Soft, end: Soft, share: float) -> Soft:
    """The part that lies `share` of the way from one to the other: 0 is the start, 1 the end; beyond is legal.

    Raises:
        SettingError: parts that don't go together or have different lengths.
    """
    return averaged([start, end], [1 - share, share])


def started(part: Soft, lm: LM, *, length: int, seed: int) -> Soft:
    """A part of `length` positions that begins as a given one: cut, or filled up, to train on from (transfer).

    What is filled up comes of pieces drawn from the vocabulary (see `vectors.vocabulary`): their vectors, or the keys
    and values the model itself has for them.

    Raises:
        SettingError: a length below 0, or one that leaves no room.
        CannotAttach: the part was learned on a model of other shapes.
    """
    if length < 0:
        raise SettingError(f"a part can't have {length} positions", hint="use a length from 0 up")
    if isinstance(part, Prefix):
        part.prefix(lm)
    else:
        part.vectors(lm, ())
    if length <= part.length:
        return _made([part], lambda values: values[0][..., :length, :], alike=True)
    if isinstance(part, Vectors):
        return concatenated([part, vocabulary(lm, length - part.length, seed=seed)])
    ids = drawn(lm, length - part.length, seed=seed)
    whole = concatenated([part, of_tokens(lm, ids, positions=part.positions)])
    return roomy(lm, whole)


def _made(parts: Sequence[Soft], fold: Callable[[Sequence[Tensor]], Tensor], *, alike: bool) -> Soft:
    """A part of the first's kind, each of its tensors folded out of the parts'."""
    _check(parts, alike=alike)
    tensors = [one.tensors() for one in parts]
    made = {name: fold([some[name] for some in tensors]) for name in tensors[0]}
    return type(parts[0]).build(parts[0].config(), made)


def _check(parts: Sequence[Vectors | Prefix], *, alike: bool) -> None:
    """Refuse what doesn't go together; `alike`: lengths have to be equal too."""
    if not parts:
        raise SettingError("there are no parts to put together", hint="give at least one")
    shapes = [_shape(one, alike=alike) for one in parts]
    for at, shape in enumerate(shapes):
        if shape != shapes[0]:
            raise SettingError(
                f"part {at} doesn't go with part 0: {shape} and {shapes[0]}",
                hint="parts of one kind, learned on one model" + (", of one length" if alike else ""),
            )


def _shape(part: Vectors | Prefix, *, alike: bool) -> str:
    """What has to be equal, in words."""
    sizes = {
        name: tuple(size for axis, size in enumerate(one.shape) if alike or axis != one.dim() - 2)
        for name, one in part.tensors().items()
    }
    more = f", {part.positions}" if isinstance(part, Prefix) else ""
    return f"{part.kind}{more} of " + ", ".join(f"{name} {sizes[name]}" for name in sorted(sizes))
