"""Genetic search over tuples of distinct numbers: which of n things, and in what order.

Kumar & Talukdar 2021, "Reordering Examples Helps during Priming-based Few-Shot Learning", arXiv:2106.01751, and its
released code. A genome is a tuple of k different numbers below n; its fitness is a number, the lower the better.
"""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from promptatlas.errors import SettingError

Genome = tuple[int, ...]
Fitness = Callable[[Sequence[Genome]], Sequence[float]]


def genome(index: int, n: int, k: int) -> Genome:
    """The genome of this number among all, sorted.

    >>> [genome(at, 3, 2) for at in range(6)]
    [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)]
    """
    left, found = list(range(n)), []
    for at in range(k):
        turn, index = divmod(index, math.perm(n - at - 1, k - at - 1))
        found.append(left.pop(turn))
    return tuple(found)


def index(one: Genome, n: int) -> int:
    """Its number among all, sorted: the other way round."""
    left, found = list(range(n)), 0
    for at, value in enumerate(one):
        found += left.index(value) * math.perm(n - at - 1, len(one) - at - 1)
        left.remove(value)
    return found


def crossed(one: Genome, other: Genome, cut: int) -> tuple[Genome, Genome, Genome, Genome]:
    """The four children of two genomes: of each the head, then of each the tail, filled up in the other's order.

    >>> crossed((0, 1, 2, 3), (3, 2, 1, 0), 2)
    ((0, 1, 3, 2), (3, 2, 0, 1), (1, 0, 2, 3), (2, 3, 1, 0))
    """

    def rest(some: Genome, kept: Genome) -> Genome:
        return tuple(value for value in some if value not in kept)

    def headed(mine: Genome, others: Genome) -> Genome:
        wanted = len(mine) - cut
        return mine[:cut] + rest(others, mine[:cut])[-wanted:]

    def tailed(mine: Genome, others: Genome) -> Genome:
        return rest(others, mine[cut:])[:cut] + mine[cut:]

    return headed(one, other), headed(other, one), tailed(one, other), tailed(other, one)


def moved(one: Genome, at: int, by: int, n: int) -> Genome:
    """Another number at this place, `by` further round; where it stands elsewhere already, the two change places.

    >>> moved((0, 1, 2, 3), 1, 2, 4), moved((0, 1), 1, 2, 4)
    ((0, 3, 2, 1), (0, 3))
    """
    value = (one[at] + by) % n
    return tuple(value if place == at else one[at] if held == value else held for place, held in enumerate(one))


@dataclass(frozen=True, kw_only=True)
class Genetic:
    """Settings of a search.

    Attributes:
        n: things there are.
        k: of them, a genome has so many.
        population: genomes of a generation.
        parents: the best so many have children.
        elites: the best so many live on as they are.
        mutation: the chance of each place to change.
        generations: of them the most.
        whole: where there are no more genomes than this, or than a generation has, all are looked at and none is bred.
        seed: of all draws.
    """

    n: int
    k: int
    population: int = 100
    parents: int = 25
    elites: int = 10
    mutation: float = 0.1
    generations: int = 100
    whole: int = 120
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse settings that can't be. Raises SettingError."""
        if self.n < 2 or not 1 <= self.k <= self.n:
            raise SettingError(f"an order of {self.k} out of {self.n}", hint="take 1 or more, out of 2 or more")
        if not 1 <= self.elites <= self.parents <= self.population or self.elites == self.population:
            said = f"elites={self.elites}, parents={self.parents}, population={self.population}"
            raise SettingError(said, hint="1 elite or more, no more than parents, and fewer than the population")
        if not 0 <= self.mutation <= 1:
            raise SettingError(f"`mutation` is {self.mutation}", hint="it is a chance, from 0 to 1")
        if self.generations < 1:
            raise SettingError(f"`generations` is {self.generations}", hint="it is 1 or more")

    @property
    def exhaustive(self) -> bool:
        """Whether all genomes are looked at."""
        return math.perm(self.n, self.k) <= max(self.whole, self.population)

    def first(self, rng: random.Random) -> list[Genome]:
        """All genomes, or so many different ones drawn."""
        count = math.perm(self.n, self.k)
        drawn = dict.fromkeys(rng.sample(range(count), count) if self.exhaustive else ())
        while not self.exhaustive and len(drawn) < self.population:
            drawn[rng.randrange(count)] = None
        return [genome(at, self.n, self.k) for at in drawn]

    def following(self, ranked: Sequence[Genome], rng: random.Random) -> list[Genome]:
        """The next generation: the elites, and mutants of the best ones' children; a genome may come twice.

        Args:
            ranked: this one, the best first.
            rng: what is drawn is drawn from.
        """
        if self.exhaustive:
            return rng.sample(ranked, len(ranked))
        wanted = self.population - self.elites
        children: list[Genome] = []
        for _ in range(-(-wanted // 2)):
            one, other = rng.choices(ranked[: self.parents], k=2)
            children += crossed(one, other, rng.randint(1, self.k - 1)) if self.k > 1 else (one, other)
        mutants = [self._mutated(one, rng) for one in rng.choices(children, k=wanted)]
        return [*ranked[: self.elites], *mutants]

    def _mutated(self, one: Genome, rng: random.Random) -> Genome:
        for at in range(self.k):
            if rng.random() < self.mutation:
                one = moved(one, at, rng.randint(1, self.n - 1), self.n)
        return one


@dataclass(eq=False)
class Known:
    """Fitness, each genome's asked once.

    Attributes:
        fitness: of many genomes at once.
        most: are asked; None: any number.
        asked: so far.
    """

    fitness: Fitness
    most: int | None = None
    asked: int = 0
    _known: dict[Genome, float] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        """Refuse a budget that can't be. Raises SettingError."""
        if self.most is not None and self.most < 1:
            raise SettingError(f"a budget of {self.most} evaluations", hint="it is 1 or more, or None")

    @property
    def spent(self) -> bool:
        """Whether no more may be asked."""
        return self.most is not None and self.asked >= self.most

    def has(self, some: Sequence[Genome]) -> bool:
        """Whether the fitness of all of these is known."""
        return all(one in self._known for one in some)

    def forget(self) -> None:
        """What was asked is true no longer: what it was asked of has changed."""
        self._known.clear()

    def ranked(self, some: Sequence[Genome]) -> list[tuple[float, Genome]]:
        """Each once, the best first, equals sorted; those the budget no longer allows for are left out."""
        distinct = dict.fromkeys(some)
        new = [one for one in distinct if one not in self._known]
        new = new if self.most is None else new[: max(0, self.most - self.asked)]
        self._known.update(zip(new, self.fitness(new) if new else (), strict=True))
        self.asked += len(new)
        return sorted((self._known[one], one) for one in distinct if one in self._known)


class Generation(NamedTuple):
    """One generation.

    Attributes:
        number: from 1.
        ranked: fitness and genome, the best first.
        following: the next generation; empty at the end.
    """

    number: int
    ranked: list[tuple[float, Genome]]
    following: list[Genome]


def evolved(how: Genetic, known: Known) -> Iterator[Generation]:
    """Generation after generation, until there are no more, nothing is left to ask, or all are known.

    What fitness is asked of may change between two of them, if it is forgotten then.
    """
    rng = random.Random(f"genetic/{how.seed}")
    population = how.first(rng)
    for number in range(1, how.generations + 1):
        if known.spent or (how.exhaustive and known.has(population)):
            return
        ranked = known.ranked(population)
        last = known.spent or number == how.generations
        population = [] if last else how.following([one for _, one in ranked], rng)
        yield Generation(number, ranked, population)
