"""Maximal marginal relevance."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from promptatlas.data.example import Example
from promptatlas.demos.diverse import Diverse, marginal
from promptatlas.demos.nearest import Nearest
from promptatlas.errors import SettingError
from promptatlas.lm.scripted import ScriptedLM

POINTS = {"a": (1.0, 0.0), "b": (0.98, 0.05), "c": (0.6, 0.8), "d": (-1.0, 0.1), "q": (0.95, 0.05), "": (0.0, 0.0)}
LM = ScriptedLM(["a"], lambda text: {"a": 0.0}, embedding=lambda text: POINTS[text])
POOL = tuple(Example({"text": name}, "label", name) for name in "abcd")
QUERY = Example({"text": "q"})


def over(k: int, relevance: float = 0.5, **settings: str) -> Diverse:
    return Diverse(index=Nearest.over(LM, POOL, k=4, **settings), k=k, relevance=relevance)  # type: ignore[arg-type]


def names(demos: Diverse, query: Example = QUERY) -> str:
    return "".join(one.key for one in demos.pick(LM, [query])[0])


def test_what_says_the_same_as_a_chosen_one_waits() -> None:
    """Cosines to q: b .999998, a .9986, c .6410, d -.9934; to b: a .9987, c .6397, d -.9936.

    Behind b at λ = .7: a .7 · .9986 - .3 · .9987 = .3994, c .2568, d -.3973; at λ = .5 all are 0 but for .0007.
    """
    assert names(over(2, 0.7)) == "ba"
    assert names(over(2, 0.3)) == "bd"  # .3 · -.9934 + .7 · .9936 = .3975, c -.2555, a -.3995
    assert names(over(4, 1.0)) == "bacd"  # nearness alone
    assert names(over(2, 0.0)) == "bd"  # the first is the nearest all the same


def brute(near: list[float], alike: list[list[float]], k: int, relevance: float) -> tuple[int, ...]:
    chosen: list[int] = []
    while len(chosen) < k:
        left = [at for at in range(len(near)) if at not in chosen]

        def worth(at: int) -> float:
            if not chosen:
                return near[at]
            return round(relevance * near[at] - (1 - relevance) * max(alike[one][at] for one in chosen), 9)

        chosen.append(max(left, key=worth))
    return tuple(chosen)


numbers = st.floats(-1, 1).map(lambda x: round(x, 3))


tables = st.integers(1, 6).flatmap(
    lambda n: st.tuples(
        st.lists(numbers, min_size=n, max_size=n),
        st.lists(st.lists(numbers, min_size=n, max_size=n), min_size=n, max_size=n),
    )
)


@given(tables, st.sampled_from([0.0, 0.3, 0.5, 1.0]))
def test_it_is_the_greedy_choice_of_the_formula(some: tuple[list[float], list[list[float]]], relevance: float) -> None:
    near, alike = some
    table = torch.tensor(alike, dtype=torch.float64)
    found = marginal(torch.tensor(near, dtype=torch.float64), lambda at: table[at], len(near), relevance)
    assert found == brute(near, alike, len(near), relevance)


def test_nearness_alone_is_the_nearest() -> None:
    for query in (QUERY, *POOL):
        nearest = Nearest.over(LM, POOL, k=3).pick(LM, [query])
        assert over(3, 1.0).pick(LM, [query]) == nearest


def test_the_order_shown_and_the_end_dropped() -> None:
    first, last = over(3, 0.3), over(3, 0.3, order="nearest_last")
    assert names(first) == names(last)[::-1]
    assert names(first)[0] == "b"
    assert (first.drop, last.drop) == ("last", "first")


def test_an_example_is_never_shown_to_itself() -> None:
    for query in POOL:
        assert query.key not in names(over(4), query)
        assert len(names(over(4), query)) == 3
    assert names(over(0)) == ""


def test_it_is_saved() -> None:
    demos = over(2, 0.3, order="nearest_last")
    again = Diverse.build(demos.config(), demos.tensors())
    assert again.config() == demos.config()
    assert names(again) == names(demos) == "db"


def test_settings_that_do_not_fit() -> None:
    with pytest.raises(SettingError, match="k=5 demonstrations are wanted, and the pool holds 4"):
        over(5)
    with pytest.raises(SettingError, match=r"a relevance of 1.5"):
        over(2, 1.5)
    with pytest.raises(SettingError, match="how alike demonstrations are isn't told by bm25"):
        over(2, metric="bm25")
