"""Genetic search over orders; the numbers are those of the paper's released code, worked out by hand."""

import math
import random
from collections.abc import Sequence
from itertools import permutations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptatlas.errors import SettingError
from promptatlas.search.genetic import Genetic, Genome, Known, crossed, evolved, genome, index, moved


def displaced(orders: Sequence[Genome]) -> list[float]:
    return [float(sum(abs(value - at) for at, value in enumerate(one))) for one in orders]


def sound(one: Genome, n: int, k: int) -> bool:
    return len(one) == len(set(one)) == k and set(one) <= set(range(n))


@pytest.mark.parametrize(("n", "k"), [(n, k) for n, k in product(range(1, 6), range(1, 6)) if k <= n])
def test_orders_are_numbered_as_they_are_sorted(n: int, k: int) -> None:
    every = [genome(at, n, k) for at in range(math.perm(n, k))]
    assert every == list(permutations(range(n), k))
    assert [index(one, n) for one in every] == list(range(len(every)))


def test_the_first_and_the_last_order() -> None:
    assert genome(0, 3, 3) == (0, 1, 2)
    assert genome(5, 3, 3) == (2, 1, 0)


def test_children_have_the_head_or_the_tail_of_one_and_the_order_of_the_other() -> None:
    assert crossed((0, 1, 2, 3), (3, 2, 1, 0), 2) == ((0, 1, 3, 2), (3, 2, 0, 1), (1, 0, 2, 3), (2, 3, 1, 0))
    # some of more: what fills up a tail are the last of the other, what fills up a head its first
    assert crossed((0, 1, 2), (3, 4, 0), 1) == ((0, 3, 4), (3, 1, 2), (3, 1, 2), (1, 4, 0))


def test_a_mutation_trades_places_or_brings_in_what_was_left_out() -> None:
    assert moved((0, 1, 2, 3), 1, 2, 4) == (0, 3, 2, 1)
    assert moved((0, 1, 2, 3), 1, 2, 6) == (0, 3, 2, 1)
    assert moved((0, 1, 2, 3), 3, 2, 6) == (0, 1, 2, 5)
    assert moved((4,), 0, 2, 5) == (1,)


@given(st.integers(2, 9), st.data())
def test_whatever_is_bred_is_an_order(n: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(1, n))
    how = Genetic(n=n, k=k, population=9, parents=4, elites=2, mutation=0.5, whole=0, seed=data.draw(st.integers(0, 9)))
    rng = random.Random(0)
    first = how.first(rng)
    assert len(first) == len(set(first)) == min(math.perm(n, k), 9) or how.exhaustive
    following = how.following(first, rng)
    assert all(sound(one, n, k) for one in (*first, *following))
    assert how.exhaustive or (len(following) == 9 and following[:2] == first[:2])


def test_the_search_finds_the_one_best_of_all_orders_in_a_few_generations() -> None:
    assert min(displaced(list(permutations(range(6))))) == 0
    how = Genetic(n=6, k=6, population=40, parents=10, elites=4, generations=30, seed=1)
    known = Known(displaced)
    found = [one.ranked[0] for one in evolved(how, known)]
    assert found[-1] == (0.0, (0, 1, 2, 3, 4, 5))
    assert known.asked < 720, "fewer than there are"
    assert [value for value, _ in found] == sorted((value for value, _ in found), reverse=True), "never worse"


def test_the_same_seed_goes_the_same_way_and_another_another() -> None:
    def way(seed: int) -> list[Genome]:
        how = Genetic(n=8, k=5, population=12, parents=5, elites=1, generations=4, seed=seed)
        return [one for each in evolved(how, Known(displaced)) for _, one in each.ranked]

    assert way(0) == way(0) != way(1)


def test_each_order_is_asked_once_until_it_is_forgotten() -> None:
    asked: list[Genome] = []

    def fitness(orders: Sequence[Genome]) -> list[float]:
        asked.extend(orders)
        return [0.0] * len(orders)

    known = Known(fitness)
    assert known.ranked([(1, 0), (0, 1), (1, 0)]) == [(0.0, (0, 1)), (0.0, (1, 0))], "equals by their number"
    assert known.ranked([(0, 1), (2, 1)]) == [(0.0, (0, 1)), (0.0, (2, 1))]
    assert asked == [(1, 0), (0, 1), (2, 1)]
    known.forget()
    known.ranked([(0, 1)])
    assert asked[3:] == [(0, 1)]
    assert known.asked == 4


def test_a_population_of_copies_counts_once_and_goes_on() -> None:
    how = Genetic(n=4, k=4, population=6, parents=3, elites=1, mutation=0.0, whole=0)
    known = Known(displaced)
    ranked = known.ranked([(3, 2, 1, 0)] * 6)
    assert ranked == [(8.0, (3, 2, 1, 0))]
    assert how.following([one for _, one in ranked], random.Random(0)) == [(3, 2, 1, 0)] * 6


def test_few_orders_are_all_looked_at_once() -> None:
    known = Known(displaced)
    generations = list(evolved(Genetic(n=5, k=5, population=16, parents=4, elites=1), known))
    assert len(generations) == 1
    assert known.asked == 120
    assert sorted(one for _, one in generations[0].ranked) == list(permutations(range(5)))


def test_few_orders_are_looked_at_anew_where_what_is_asked_has_changed() -> None:
    known, numbers = Known(displaced), []
    for number, ranked, following in evolved(
        Genetic(n=3, k=3, population=2, parents=1, elites=1, generations=3), known
    ):
        numbers.append(number)
        assert len(ranked) == 6
        assert sorted(following) == (list(permutations(range(3))) if number < 3 else [])
        known.forget()
    assert numbers == [1, 2, 3]
    assert known.asked == 18


@pytest.mark.parametrize("budget", [1, 7, 16, 30])
def test_a_budget_is_kept_to_the_order(budget: int) -> None:
    known = Known(displaced, budget)
    generations = list(evolved(Genetic(n=9, k=6, population=16, parents=4, elites=1), known))
    assert known.asked == budget
    assert len(generations[0].ranked) == min(budget, 16)
    assert generations[-1].following == []


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"n": 1, "k": 1}, "an order of 1 out of 1"),
        ({"k": 0}, "an order of 0 out of 5"),
        ({"k": 6}, "an order of 6 out of 5"),
        ({"elites": 0}, "elites=0, parents=25, population=100"),
        ({"elites": 30}, "elites=30, parents=25"),
        ({"parents": 101}, "parents=101, population=100"),
        ({"population": 10, "parents": 10}, "elites=10, parents=10, population=10"),
        ({"mutation": 1.5}, "`mutation` is 1.5"),
        ({"generations": 0}, "`generations` is 0"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, float], told: str) -> None:
    with pytest.raises(SettingError, match=told):
        Genetic(**{"n": 5, "k": 3, **settings})  # type: ignore[arg-type]


def test_a_budget_of_nothing_is_refused() -> None:
    with pytest.raises(SettingError, match="a budget of 0 evaluations"):
        Known(displaced, 0)
