"""Draws: few of each label, splits, folds, batches.

Every draw takes a seed and is a function of it and of the order given: the same seed over the same order gives the same
draw on every machine, and the same examples in another order give another draw.
"""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from promptatlas.data.example import Example, Target
from promptatlas.errors import DataError, SettingError


class Drawn(NamedTuple):
    """What was drawn, in the order drawn, and what was left, in the order given."""

    drawn: tuple[Example, ...]
    rest: tuple[Example, ...]


def few_shot(
    examples: Sequence[Example], k: int, seed: int, *, labels: Sequence[str] = (), lenient: bool = False
) -> Drawn:
    """Draw k examples of each label; without labels, k in all.

    One shuffle decides, of which the first k of each label are taken: a draw with a smaller k and the same seed is
    part of the larger, and labels come mixed.

    Args:
        examples: where to draw from; an example whose target isn't one of `labels` is never drawn.
        k: how many of each label, or in all.
        seed: of the shuffle.
        labels: what to balance over.
        lenient: take what there is where there are fewer than k.

    Raises:
        DataError: there are fewer than k of a label (named), and `lenient` is off.
        SettingError: k is negative.
    """
    if k < 0:
        raise SettingError(f"k is {k}", hint="draw 1 or more")
    if not lenient:
        _enough(examples, k, labels)
    left: dict[Target, int] = {}
    left.update(dict.fromkeys(labels or (None,), k))
    drawn: list[int] = []
    for index in _shuffled(len(examples), str(seed)):
        group = examples[index].target if labels else None
        if left.get(group, 0) > 0:
            left[group] -= 1
            drawn.append(index)
    taken = set(drawn)
    rest = tuple(example for index, example in enumerate(examples) if index not in taken)
    return Drawn(tuple(examples[index] for index in drawn), rest)


def split(examples: Sequence[Example], fraction: float, seed: int) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """Split at random in two, the first holding this fraction (rounded); each keeps the order given.

    Raises:
        SettingError: the fraction isn't between 0 and 1.
    """
    if not 0 <= fraction <= 1:
        raise SettingError(f"the fraction is {fraction}", hint="give a number from 0 to 1")
    first = set(_shuffled(len(examples), str(seed))[: round(fraction * len(examples))])
    return (
        tuple(example for index, example in enumerate(examples) if index in first),
        tuple(example for index, example in enumerate(examples) if index not in first),
    )


def folds(count: int, k: int, seed: int) -> tuple[tuple[int, ...], ...]:
    """Divide 0 ... count-1, shuffled, into k stretches whose lengths differ by one at most; the longer come first.

    Raises:
        SettingError: k is below 1, or above `count`.
    """
    if not 1 <= k <= count:
        raise SettingError(f"{count} examples can't be divided into {k} folds", hint=f"ask for 1 to {count} folds")
    return stretches(_shuffled(count, str(seed)), k)


def stretches(order: Sequence[int], k: int) -> tuple[tuple[int, ...], ...]:
    """Cut an order into k stretches whose lengths differ by one at most; the longer come first."""
    size, longer = divmod(len(order), k)
    ends = [size * fold + min(fold, longer) for fold in range(k + 1)]
    return tuple(tuple(order[start:end]) for start, end in pairwise(ends))


def turns(targets: Sequence[Target], seed: int | str) -> tuple[int, ...]:
    """Shuffle 0 ... len(targets)-1 so that targets take turns, each as often as it has examples.

    Where every target has as many examples, any stretch of the order holds each as often as any other, or once more.
    """
    rng = random.Random(str(seed))
    groups: dict[Target, list[int]] = {}
    for index, target in enumerate(targets):
        groups.setdefault(target, []).append(index)
    placed: list[tuple[float, int]] = []
    for group in groups.values():
        rng.shuffle(group)
        start = rng.random()
        placed += [((rank + start) / len(group), index) for rank, index in enumerate(group)]
    return tuple(index for _, index in sorted(placed))


def batches(count: int, size: int, steps: int, seed: int) -> Iterator[list[int]]:
    """Yield the batches of steps 0 ... steps-1; see `batch_at`."""
    return (batch_at(count, size, step, seed) for step in range(steps))


def batch_at(count: int, size: int, step: int, seed: int) -> list[int]:
    """The indices of one step's batch, known without the steps before it.

    Each epoch is a shuffle of its own. A batch never reaches into the next epoch: an epoch's last is the shorter where
    `size` doesn't divide `count`, so no batch holds an index twice.

    Raises:
        DataError: there is nothing to draw from.
        SettingError: size is below 1, or step below 0.
    """
    if count < 1:
        raise DataError("no examples to draw batches from")
    if size < 1 or step < 0:
        raise SettingError(f"batch size {size}, step {step}", hint="sizes start at 1, steps at 0")
    epoch, place = divmod(step, -(-count // size))
    return list(_shuffled(count, f"{seed} {epoch}")[place * size : (place + 1) * size])


@lru_cache(maxsize=16)  # the steps of an epoch ask for the same shuffle
def _shuffled(count: int, seed: str) -> tuple[int, ...]:
    order = list(range(count))
    random.Random(seed).shuffle(order)
    return tuple(order)


def _enough(examples: Sequence[Example], k: int, labels: Sequence[str]) -> None:
    if not labels:
        if len(examples) < k:
            raise DataError(f"there are {len(examples)} examples, {k} were asked for")
        return
    counts = Counter(example.target for example in examples)
    for label in labels:
        if counts[label] < k:
            least = min(counts[one] for one in labels)
            raise DataError(
                f"label `{label}` has {counts[label]} examples, {k} were asked for",
                hint=f"ask for at most {least} of each label"
                if least
                else "add examples of it, or leave the label out",
            )
