"""The paired bootstrap, against what can be worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest

from promptatlas.bench.compare import Difference, paired
from promptatlas.bench.report import Cell


def cell(seed: int, hits: str = "", **figures: float) -> Cell:
    share = {"accuracy": hits.count("1") / len(hits)} if hits else {}
    return Cell(method="m", task="t", lm="l", seed=seed, figures={**share, **figures}, hits=hits)


def test_the_same_answers_are_no_difference():
    ones = [cell(0, "1101"), cell(1, "0011")]
    assert paired(ones, ones, "accuracy") == Difference(0.0, 0.0, 0.0, 2)


def test_always_one_more_is_certain():
    found = paired([cell(0, "1111"), cell(1, "1111")], [cell(0, "0000"), cell(1, "0000")], "accuracy")
    assert found == Difference(1.0, 1.0, 1.0, 2)
    assert found.clear


def test_the_interval_is_that_of_the_mean_over_examples():
    random = np.random.default_rng(0)
    hits = random.random(400) < 0.7
    ones, others = "".join("01"[one] for one in hits.astype(int)), "0" * 400
    found = paired([cell(0, ones)], [cell(0, others)], "accuracy", samples=20_000)
    assert found is not None
    mean = hits.mean()
    width = 1.96 * np.sqrt(mean * (1 - mean) / 400)  # of a share, by the normal approximation
    assert found.mean == pytest.approx(mean)
    assert found.low == pytest.approx(mean - width, abs=0.005)
    assert found.high == pytest.approx(mean + width, abs=0.005)


def test_draws_count_beside_examples():
    ones, others = (
        [cell(seed, "1" * 50 if seed % 2 else "0" * 50) for seed in range(10)],
        [cell(seed, "0" * 50) for seed in range(10)],
    )
    found = paired(ones, others, "accuracy", samples=20_000)
    assert found is not None
    assert found.mean == 0.5
    assert found.high - found.low == pytest.approx(2 * 1.96 * np.sqrt(0.25 / 10), abs=0.06)  # ten coins


def test_only_draws_of_both_count():
    found = paired([cell(0, "11"), cell(1, "11")], [cell(1, "10"), cell(2, "00")], "accuracy")
    assert found is not None
    assert (found.draws, found.mean) == (1, 0.5)
    assert paired([cell(0, "11")], [cell(1, "11")], "accuracy") is None


def test_without_hits_draws_alone_are_drawn():
    found = paired([cell(0, f1=0.5), cell(1, f1=0.7)], [cell(0, f1=0.4), cell(1, f1=0.4)], "f1")
    assert found is not None
    assert found.mean == pytest.approx(0.2)
    assert (found.low, found.high) == (pytest.approx(0.1), pytest.approx(0.3))
    assert paired([cell(0)], [cell(0, f1=1.0)], "f1") is None


def test_the_same_seed_gives_the_same_interval():
    ones, others = [cell(0, "110101")], [cell(0, "010111")]
    assert paired(ones, others, "accuracy") == paired(ones, others, "accuracy")


def test_orders_of_a_draw_are_one_draw():
    ones = [replace(cell(seed, accuracy=one), order=order) for seed in (0, 1) for order, one in enumerate((0.2, 0.6))]
    found = paired(ones, [cell(0, "1000"), cell(1, "1000")], "accuracy")
    assert found is not None
    assert (found.mean, found.draws) == (pytest.approx(0.15), 2)
