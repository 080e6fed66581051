"""What a prompt is worth in data points, against curves worked out by hand."""

import math

import numpy as np
import pytest

from promptatlas.bench.worth import average, best_so_far, needed, window, worth
from promptatlas.errors import DataError

SIZES = np.array([10.0, 20.0, 40.0])
HEAD = np.array([0.5, 0.6, 0.7])
PROMPT = np.array([0.6, 0.7, 0.8])


def runs(*curves: tuple[float, ...], sizes: tuple[int, ...] = (10, 20, 40)) -> dict[int, list[float]]:
    return {size: [curve[at] for curve in curves] for at, size in enumerate(sizes)}


def test_a_prompt_is_worth_what_its_curve_is_ahead():
    assert window(PROMPT, HEAD) == (0.6, 0.7)
    for score in (0.61, 0.65, 0.69):  # the head needs 20 + 200 (y - .6), the prompt 10 + 100 (y - .6)
        advantage = needed(score, SIZES, HEAD) - needed(score, SIZES, PROMPT)
        assert advantage == pytest.approx(10 + 100 * (score - 0.6))
    assert average(SIZES, PROMPT, HEAD) == pytest.approx(15.0)
    found = worth(runs(tuple(PROMPT)), runs(tuple(HEAD)))
    assert found.average == pytest.approx(15.0)
    assert math.isnan(found.spread)


def test_the_same_curve_is_worth_nothing():
    assert worth(runs(tuple(HEAD)), runs(tuple(HEAD))).average == 0


def test_who_is_ahead_is_as_far_as_the_other_is_behind():
    one, other = (0.5, 0.62, 0.8), (0.55, 0.58, 0.9)
    assert worth(runs(one), runs(other)).average == -worth(runs(other), runs(one)).average


def test_half_the_data_is_an_advantage_of_half_of_what_is_needed():
    sizes = np.array([10.0, 20.0, 40.0, 80.0])
    head, prompt = np.array([0.4, 0.5, 0.6, 0.7]), np.array([0.5, 0.6, 0.7, 0.8])
    for score in (0.51, 0.55, 0.66):
        whole = needed(score, sizes, head)
        assert whole - needed(score, sizes, prompt) == pytest.approx(whole / 2)


def test_the_best_so_far_never_falls_and_a_failed_run_changes_nothing():
    table = np.array([[0.5, 0.4, 0.7], [0.45, 0.6, 0.65]])
    found = best_so_far(table)
    assert found.tolist() == [0.5, 0.6, 0.7]
    assert (found >= table).all()
    assert best_so_far(np.vstack([table, np.zeros(3)])).tolist() == found.tolist()
    assert best_so_far(np.array([[0.5, math.nan, 0.7]])).tolist() == [0.5, 0.5, 0.7]


def test_scores_on_another_straight_scale_say_the_same():
    one, other = (0.5, 0.62, 0.8), (0.55, 0.58, 0.9)
    scaled = [tuple(3 * y + 1 for y in curve) for curve in (one, other)]
    assert worth(runs(scaled[0]), runs(scaled[1])).average == pytest.approx(worth(runs(one), runs(other)).average)
    bent = [tuple(y**3 for y in curve) for curve in (one, other)]
    assert worth(runs(bent[0]), runs(bent[1])).average != pytest.approx(worth(runs(one), runs(other)).average)


def test_a_stretch_without_gain_is_skipped():
    flat = np.array([0.5, 0.5, 0.7])
    assert needed(0.6, SIZES, flat) == pytest.approx(30.0)


def test_the_spread_is_that_of_leaving_a_run_of_each_out():
    heads, prompts = [(0.5, 0.6, 0.7), (0.52, 0.58, 0.72)], [(0.6, 0.7, 0.8), (0.58, 0.72, 0.78)]
    found = worth(runs(*prompts), runs(*heads))
    left = [worth(runs(prompt), runs(head)).average for prompt in prompts for head in heads]
    assert found.spread == pytest.approx(np.std(left))


def test_curves_that_never_meet_have_no_worth():
    found = worth(runs((0.8, 0.85, 0.9)), runs((0.5, 0.6, 0.7)))
    assert math.isnan(found.average)
    assert found.why == "one of them is never better than 0.800, where the other begins"
    assert worth(runs((0.5, 0.5, 0.5)), runs((0.4, 0.6, 0.7))).why


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        (runs((0.5,), sizes=(10,)), runs((0.5,), sizes=(10,)), "1 number of examples is no curve"),
        (runs((0.5, 0.6), sizes=(10, 20)), runs((0.5, 0.6), sizes=(10, 30)), "only one of both was measured from 20"),
        (runs((math.nan, 0.6), sizes=(10, 20)), runs((0.5, 0.6), sizes=(10, 20)), "no run was measured at the least"),
    ],
)
def test_what_is_no_pair_of_curves_is_refused(one: dict[int, list[float]], other: dict[int, list[float]], message: str):
    with pytest.raises(DataError, match=message):
        worth(one, other)
