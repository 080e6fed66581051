"""How labelled examples are divided to choose by them: what is learned from, and what is asked then.

Perez, Kiela & Cho 2021, "True Few-Shot Learning with Language Models", arXiv:2105.11447.
"""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, permutations
from typing import ClassVar, Literal, get_args

from promptatlas.data.draw import stretches, turns
from promptatlas.data.example import Target
from promptatlas.errors import SettingError, near

Kind = Literal["cv", "mdl", "dev"]
KINDS: tuple[Kind, ...] = get_args(Kind)

ALL = 5  # up to so many examples, every order there is may be asked for

Order = tuple[int, ...]


@dataclass(frozen=True)
class Fold:
    """One question to a candidate, in places among the examples.

    Attributes:
        train: what it may learn from, in the order shown.
        held: what it is asked.
        order: the number of the order of examples this was cut from.
    """

    train: Order
    held: Order
    order: int = 0


@dataclass(frozen=True, kw_only=True)
class Selection:
    """How to choose by labels.

    Attributes:
        kind: "cv": the mean loss on folds left out of training. "mdl": the code length of the labels, each block coded
            after training on those before it, the first after none. "dev": the mean loss on the task's dev examples.
        folds: of "cv", or blocks of "mdl"; None: of one example each, in orders in which every example stands at every
            place as often as at any other.
        orders: of the examples, over which the criterion is averaged.
        first: examples of "mdl" that are trained on and never coded (released code, where models are trained: half).
        beta: of "mdl": instead of the code length, the mean over blocks weighted by softmax(beta · place): 0 counts all
            alike, and the higher it is, the more the last ones count.
        alpha: so many standard deviations of the estimates are added to the criterion, against bad choices.
        nested: also estimate what such a choice is worth: choose anew without each fold, and measure on it.
        tempered: bring every candidate's held-out answers to the temperature that its others suit, before they are
            compared, and what is chosen to the one that all suit: what learned from few labels is too sure, and a loss
            counts that for more than errors.
        seed: of the orders.
    """

    kind: Kind = "cv"
    folds: int | None = 8  # the released code, where models are trained
    orders: int = 1
    first: int = 0
    beta: float | None = None
    alpha: float = 0.0
    nested: bool = False
    tempered: bool = False
    seed: int = 0

    name: ClassVar[str] = "selection"

    def check(self, count: int, dev: int = 0) -> None:
        """Whether so many training and dev examples can be chosen by. Raises SettingError."""
        if self.kind not in KINDS:
            raise SettingError(f"there is no selection `{self.kind}`", hint=near(self.kind, KINDS))
        if self.orders < 1 or self.first < 0 or not self.alpha >= 0 or (self.beta is not None and not self.beta >= 0):
            said = f"orders={self.orders}, first={self.first}, alpha={self.alpha}, beta={self.beta}"
            raise SettingError(f"a selection of {said}", hint="1 order or more, and nothing below 0")
        if self.kind != "mdl" and (self.first or self.beta is not None):
            raise SettingError(f"`first` and `beta` say nothing to `{self.kind}`", hint='they go with kind="mdl"')
        if self.kind == "mdl" and self.alpha and self.orders < 2:
            raise SettingError("`alpha` needs several code lengths to vary", hint="take orders=2 or more")
        if self.kind == "dev":
            if self.tempered:
                raise SettingError('`tempered` needs folds, and kind="dev" has none', hint='take kind="cv" or "mdl"')
            if self.nested:
                raise SettingError('`nested` has no meaning under kind="dev"', hint="measure on the test examples")
            if not dev:
                raise SettingError("there are no dev examples to choose by", hint='kind="cv" takes those of train')
            return
        if self.nested and count < 3:
            raise SettingError(f"{count} examples can't be chosen by twice", hint="`nested` takes 3 examples or more")
        most = count - self.first
        wanted = most if self.folds is None else self.folds
        if not 2 <= wanted <= most:
            left = f"{count} examples" if not self.first else f"{most} examples, {self.first} being trained on first,"
            hint = f"ask for 2 to {most} folds" if most > 1 else "give 2 examples at least"
            raise SettingError(f"{left} can't be divided into {wanted} folds", hint=hint)

    def note(self, count: int, dev: int) -> str:
        """What a reader of such a choice has to know, by how many training and dev examples there are; "" mostly."""
        if self.kind != "dev" or dev <= count:
            return ""
        return (
            f"chosen by {dev} dev examples, more than the {count} there are to learn from: this is no few-shot result"
        )

    def within(self, count: int) -> "Selection":
        """The same for fewer examples, with no more folds, orders and first examples than they allow; not nested."""
        first = min(self.first, count - 2)
        folds = None if self.folds is None else min(self.folds, count - first)
        alone = folds in (None, count - first) and count <= ALL
        most = math.factorial(count - 1 if self.kind == "cv" else count) if alone else self.orders
        return replace(self, first=first, folds=folds, orders=min(self.orders, most), nested=False)

    def plan(self, targets: Sequence[Target], dev: int = 0) -> tuple[Fold, ...]:
        """What every candidate is asked: places among the training examples, then the dev ones.

        Args:
            targets: of the training examples; each fold and block has of every target what it can.
            dev: how many dev examples there are.

        Raises:
            SettingError: a setting that can't be, or more folds than examples.
        """
        count = len(targets)
        self.check(count, dev)
        if self.kind == "dev":
            return (Fold(tuple(range(count)), tuple(range(count, count + dev))),)
        return tuple(self._left_out(targets) if self.kind == "cv" else self._coded(targets))

    def _left_out(self, targets: Sequence[Target]) -> Iterator[Fold]:
        """Each fold left out once an order; of single examples, each at the end of an order of its own."""
        count = len(targets)
        if self.folds in (None, count):
            groups = orders(count, self.orders, self.seed)
            yield from (Fold(one[:-1], one[-1:], at) for at, group in enumerate(groups) for one in group)
            return
        for at in range(self.orders):
            order = turns(targets, f"{self.seed}/{at}")
            for held in stretches(order, self.folds or count):
                yield Fold(tuple(one for one in order if one not in held), held, at)

    def _coded(self, targets: Sequence[Target]) -> Iterator[Fold]:
        """Blocks, each with all that comes before it."""
        count = len(targets)
        blocks = self.folds or count - self.first
        if blocks == count - self.first:
            groups = orders(count, math.ceil(self.orders / count), self.seed)
            drawn = list(islice((one for group in groups for one in group), self.orders))
        else:
            drawn = [turns(targets, f"{self.seed}/{at}") for at in range(self.orders)]
        for at, order in enumerate(drawn):
            start = self.first
            for held in stretches(order[start:], blocks):
                yield Fold(order[:start], held, at)
                start += len(held)


def orders(count: int, groups: int, seed: int) -> list[tuple[Order, ...]]:
    """Groups of `count` orders of 0 ... count-1; within a group each stands at every place exactly once.

    Up to five: groups of all the orders there are, none twice. Above: each group is a random order and what one random
    cycle of places makes of it, again and again.

    Raises:
        SettingError: there aren't so many groups.
    """
    rng = random.Random(str(seed))
    if count > ALL:
        return [_turned(_shuffled(count, rng), _cycle(count, rng)) for _ in range(groups)]
    starts = [(0, *rest) for rest in permutations(range(1, count))]
    if groups > len(starts):
        raise SettingError(
            f"{count} examples have {len(starts) * count} orders, which are {len(starts)} groups of {count}",
            hint=f"`orders` counts groups under cv, {len(starts)} at most, and orders under mdl",
        )
    rng.shuffle(starts)
    first = [rng.randrange(count) for _ in range(groups)]  # else every group began with example 0
    chosen = zip(starts, first, strict=False)
    return [_turned(start[at:] + start[:at], (*range(1, count), 0)) for start, at in chosen]


def _turned(start: Order, cycle: Order) -> tuple[Order, ...]:
    found = [start]
    for _ in start[1:]:
        found.append(tuple(found[-1][place] for place in cycle))
    return tuple(found)


def _cycle(count: int, rng: random.Random) -> Order:
    """For every place the one it is filled from: through all places, and back."""
    path = _shuffled(count, rng)
    following = dict(zip(path, (*path[1:], path[0]), strict=True))
    return tuple(following[place] for place in range(count))


def _shuffled(count: int, rng: random.Random) -> Order:
    order = list(range(count))
    rng.shuffle(order)
    return tuple(order)
