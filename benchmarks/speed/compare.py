"""Two parties on the same batches: their operations, and their times taken in turn."""

import gc
from collections.abc import Sequence
from statistics import median
from typing import Any

from benchmarks.speed.count import Side


def operations(ours: Side, peer: Side, batches: Sequence[int]) -> dict[str, Any]:
    """Operations over all batches, ours and the peer's, and their ratio."""
    found: dict[str, Any] = {}
    for name, side in (("ours", ours), ("peer", peer)):
        counts = [side.operations(at) for at in batches]
        found[f"{name} by kind"] = {kind: sum(one[kind] for one in counts) for kind in counts[0]}
        found[name] = sum(found[f"{name} by kind"].values())
    return {**found, "ratio": found["ours"] / found["peer"]}


def times(ours: Side, peer: Side, batches: Sequence[int], *, warm: int = 0) -> dict[str, Any]:
    """Seconds a batch, each batch done by both, one after the other, the first in turn; the ratio is the pairs' median.

    Args:
        ours: one party.
        peer: the other.
        batches: one a pair.
        warm: the batch both do first, unmeasured.
    """
    ours.seconds(warm)
    peer.seconds(warm)
    gc.collect()  # what came before is not counted against either
    pairs: list[tuple[float, float]] = []
    for turn, at in enumerate(batches):
        if turn % 2:
            theirs = peer.seconds(at)
            pairs.append((ours.seconds(at), theirs))
        else:
            mine = ours.seconds(at)
            pairs.append((mine, peer.seconds(at)))
    ratios = [mine / theirs for mine, theirs in pairs]
    return {
        "ours": median(mine for mine, _ in pairs), "peer": median(theirs for _, theirs in pairs),
        "ratio": median(ratios), "ratios": [round(one, 4) for one in ratios],
    }  # fmt: skip
