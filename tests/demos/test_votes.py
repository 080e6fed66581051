"""Fast vote-k, against the paper's score counted by hand."""

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from promptatlas.demos.votes import vote_k
from promptatlas.errors import SettingError


def on_the_circle(degrees: Sequence[float]) -> torch.Tensor:
    angles = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return torch.stack([angles.cos(), angles.sin()], 1)


def by_the_paper(neighbours: Sequence[set[int]], count: int, rho: float) -> list[int]:
    """score(u) = sum of s(v) over edges (v, u) with v not chosen; s(v) = rho ** -|chosen l with an edge (v, l)|."""
    chosen: list[int] = []
    everything = range(len(neighbours))
    for _ in range(count):
        scores = {
            u: sum(
                rho ** -len([one for one in chosen if one in neighbours[v]])
                for v in everything
                if u in neighbours[v] and v not in chosen
            )
            for u in everything
            if u not in chosen
        }
        chosen.append(max(scores, key=lambda u: round(scores[u], 9)))
    return chosen


def test_the_most_voted_first_and_then_another_corner() -> None:
    """At 0, 1 and 3 degrees, and at 90, 91 and 95: each votes for one; 1 and 91 have two votes."""
    vectors = on_the_circle([0, 1, 3, 90, 91, 95])
    assert vote_k(vectors, 2, near=1) == [1, 4]
    # 0 and 2 voted for 1, 3 and 5 for 4, and weigh a tenth; the chosen weigh nothing: all that is left scores 0
    assert vote_k(vectors, 6, near=1) == [1, 4, 0, 2, 3, 5]


def test_a_voter_whose_neighbours_are_chosen_weighs_less() -> None:
    """Each votes for two; behind 1 its voters 0, 2 and 3 weigh a tenth, so that 5, with 4 and 6 for it, is next."""
    vectors = on_the_circle([0, 1, 2, 4, 40, 41, 42])
    assert vote_k(vectors, 2, near=2, rho=10.0)[1] >= 4
    assert vote_k(vectors, 2, near=2, rho=1.0001) == by_the_paper(
        [{1, 2}, {0, 2}, {1, 0}, {2, 1}, {5, 6}, {4, 6}, {5, 4}], 2, 1.0001
    )


@given(
    st.lists(st.integers(0, 3599), min_size=2, max_size=9, unique=True),
    st.integers(1, 8),
    st.sampled_from([2.0, 10.0]),
)
def test_it_is_the_paper_s_score(tenths: list[int], near: int, rho: float) -> None:
    angles = [one / 10 for one in tenths]
    vectors = on_the_circle(angles)
    near = min(near, len(angles) - 1)
    cosines = (vectors @ vectors.T).round(decimals=9)
    neighbours = []
    for v in range(len(angles)):
        others = sorted((u for u in range(len(angles)) if u != v), key=lambda u: (-float(cosines[v, u]), u))
        neighbours.append(set(others[:near]))
    assert vote_k(vectors, len(angles), near=near, rho=rho) == by_the_paper(neighbours, len(angles), rho)


def test_all_vote_for_all_where_there_are_few() -> None:
    assert vote_k(on_the_circle([0, 50, 100]), 3) == [0, 1, 2]
    assert vote_k(torch.zeros(1, 2), 1) == [0]
    assert vote_k(torch.zeros(0, 2), 0) == []


def test_length_and_company_of_zero_do_not_matter() -> None:
    vectors = on_the_circle([0, 1, 3, 90, 91, 95])
    assert vote_k(vectors * torch.tensor([1, 5, 2, 7, 1, 3])[:, None], 4, near=1) == vote_k(vectors, 4, near=1)


def test_numbers_that_cannot_be() -> None:
    vectors = on_the_circle([0, 1])
    with pytest.raises(SettingError, match="3 of 2 examples are to be chosen"):
        vote_k(vectors, 3)
    for settings in ({"near": 0}, {"rho": 1.0}):
        with pytest.raises(SettingError, match="votes for"):
            vote_k(vectors, 1, **settings)  # type: ignore[arg-type]
