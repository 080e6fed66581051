"""What lines begin with alike: a tree of shared beginnings, each to be run once.

Only a causal model has them: what it makes of a token depends on nothing behind it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from torch import Tensor

from promptatlas.lm.lines import Line

GAIN = 64  # tokens a beginning must save: a pass of its own costs about as much
LEAST = 8  # tokens of a beginning worth keeping for later reads
FIRST_PART = 1 << 40  # above all token ids: a number for every vector of every part

Layers = Sequence[tuple[Tensor, Tensor]]  # keys and values, [heads, length, dim] a layer


@dataclass(eq=False)
class Beginning:
    """Tokens [start, stop) of some lines, behind the parent's.

    Attributes:
        line: one that begins so.
        keep: whether later reads may want it too.
        lines: those that go on from here, no further beginning between.
        left: lines below it that are still to be run.
        layers: what every layer's attention sees of all tokens up to `stop`, once it was run.
    """

    line: Line | None
    start: int = 0
    stop: int = 0
    parent: "Beginning | None" = None
    keep: bool = False
    lines: list[Line] = field(default_factory=list)
    left: int = 0
    layers: Layers | None = None

    def above(self) -> Iterator["Beginning"]:
        """Itself and what it follows, without the empty one at the root."""
        at: Beginning | None = self
        while at is not None and at.stop:
            yield at
            at = at.parent


@dataclass(frozen=True, eq=False)
class Candidate:
    """A line, and what it may share.

    Attributes:
        line: the line.
        keys: [stem], equal where two lines' inputs are; vectors made from one row alone have numbers of their own.
        front: tells lines with different prefixes apart.
        cap: tokens that may be run ahead of the rest: nothing is read among them.
        cut: tokens worth keeping for later reads; 0 is none.
    """

    line: Line
    keys: np.ndarray
    front: int
    cap: int
    cut: int

    def order(self) -> tuple[int, bytes]:
        """What lines with common beginnings are neighbours by."""
        return self.front, self.keys.astype(">u8").tobytes()


def plan(candidates: Sequence[Candidate]) -> list[Beginning]:
    """Beginnings that are worth a pass, parents before children; the first is empty, for lines that share nothing."""
    ordered = sorted(candidates, key=Candidate.order)
    common = [0, *(_common(a, b) for a, b in pairwise(ordered))]
    root = Beginning(None)
    found = [root]
    work = [(0, len(ordered), root)]
    while work:
        low, high, at = work.pop()
        if high - low < 2:
            if high > low:
                one = ordered[low]
                _end(at if one.cut - at.stop < LEAST else _grow(found, at, one, one.cut, keep=True), one)
            continue
        shared = min(common[low + 1 : high])
        cut = ordered[low].cut
        if at.stop + LEAST <= cut <= shared:
            at = _grow(found, at, ordered[low], cut, keep=True)
        if (high - low - 1) * (shared - at.stop) >= GAIN:
            at = _grow(found, at, ordered[low], shared, keep=shared <= cut)
        edges = [low, *(i for i in range(low + 1, high) if common[i] == shared), high]
        work += [(a, b, at) for a, b in pairwise(edges)][::-1]
    return found


def _grow(found: list[Beginning], parent: Beginning, one: Candidate, stop: int, *, keep: bool = False) -> Beginning:
    found.append(Beginning(one.line, parent.stop, stop, parent, keep))
    return found[-1]


def _end(at: Beginning, one: Candidate) -> None:
    one.line.begin = at.stop
    at.lines.append(one.line)
    for above in at.above():
        above.left += 1


def _common(a: Candidate, b: Candidate) -> int:
    """How many tokens two lines may share."""
    length = min(a.cap, b.cap)
    if a.front != b.front:
        return 0
    differs = a.keys[:length] != b.keys[:length]
    return int(differs.argmax()) if differs.any() else length
