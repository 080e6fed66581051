"""Choosing from tables of losses: what the criteria are, by hand."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as some

from promptatlas.errors import DataError, PromptAtlasError, SettingError
from promptatlas.train.choice import Choice, Held, Judged, judged
from promptatlas.train.choose import choose
from promptatlas.train.folds import Fold, Selection

EIGHT = ["up", "down"] * 4


def by(loss: Callable[[str, Fold, int], float], names: Sequence[str]) -> Callable[[int, Sequence[Fold]], list[Held]]:
    """Evaluates from a function of the name, the fold and the place held back; right is what loses less than log 2."""

    def evaluate(at: int, folds: Sequence[Fold]) -> list[Held]:
        losses = [tuple(loss(names[at], fold, place) for place in fold.held) for fold in folds]
        return [Held(one, tuple(value < math.log(2) for value in one)) for one in losses]

    return evaluate


def grown(table: Mapping[str, Sequence[float]], how: Selection) -> Choice:
    """Choose where a loss depends on how many examples were learned from."""
    count = len(next(iter(table.values())))
    names = list(table)
    return choose(names, by(lambda name, fold, _: table[name][len(fold.train)], names), how, EIGHT[:count])


def fixed(table: Mapping[str, Sequence[float]], how: Selection) -> Choice:
    """Choose where a loss depends on the example alone."""
    names = list(table)
    count = len(next(iter(table.values())))
    return choose(names, by(lambda name, _, place: table[name][place], names), how, EIGHT[:count])


ONE_ORDER = {"A": (1.2, 0.6, 0.4), "B": (0.7, 0.6, 0.6)}


def test_code_length_counts_all_prefixes_and_cross_validation_the_last() -> None:
    coded = grown(ONE_ORDER, Selection(kind="mdl", folds=None))
    assert [one.value for one in coded.scores] == pytest.approx([2.2, 1.9])
    assert coded.chosen == "B"
    left_out = grown(ONE_ORDER, Selection(folds=None))
    assert [one.value for one in left_out.scores] == pytest.approx([0.4, 0.6])
    assert left_out.chosen == "A"


@pytest.mark.parametrize(
    ("beta", "values"), [(1.0, (0.520971, 0.609003)), (0.0, (2.2 / 3, 1.9 / 3)), (1e8, (0.4, 0.6))]
)
def test_beta_goes_from_all_prefixes_to_the_last(beta: float, values: tuple[float, float]) -> None:
    choice = grown(ONE_ORDER, Selection(kind="mdl", folds=None, beta=beta, orders=2))
    assert [one.value for one in choice.scores] == pytest.approx(values, abs=1e-6)


def test_beta_of_blocks_weighs_their_means() -> None:
    table = {"A": (1.0, 0, 0, 3.0, 0), "B": (9.0, 0, 0, 9.0, 0)}  # blocks of 3 and 2, after 0 and 3 examples
    choice = grown(table, Selection(kind="mdl", folds=2, beta=math.log(3)))
    assert choice.scores[0].value == pytest.approx((1 * 1 + 3 * 3) / 4)
    assert grown(table, Selection(kind="mdl", folds=2)).scores[0].value == pytest.approx(3 * 1 + 2 * 3)


LEFT_OUT = {"A": (0.2, 0.9, 0.4), "B": (0.5, 0.5, 0.6)}


@pytest.mark.parametrize(("alpha", "values", "best"), [(0.0, (0.5, 0.533333), "A"), (1.0, (0.860555, 0.591068), "B")])
def test_alpha_adds_standard_deviations(alpha: float, values: tuple[float, float], best: str) -> None:
    choice = fixed(LEFT_OUT, Selection(folds=None, alpha=alpha))
    assert [one.value for one in choice.scores] == pytest.approx(values, abs=1e-6)
    assert [one.deviation for one in choice.scores] == pytest.approx([0.360555, 0.057735], abs=1e-6)
    assert [one.standard_error for one in choice.scores] == pytest.approx([0.208167, 0.033333], abs=1e-6)
    assert choice.chosen == best


def test_the_criteria_are_the_formulas() -> None:
    """Fold by fold in numpy, with orders averaged over."""
    rng = numpy.random.default_rng(0)
    losses = rng.uniform(0.1, 2, (2, 8, 8))  # [candidates, examples learned from, example]
    names = ["A", "B"]
    evaluate = by(lambda name, fold, place: float(losses[names.index(name), len(fold.train), place]), names)
    how = Selection(folds=3, orders=2)
    for at, score in enumerate(choose(names, evaluate, how, EIGHT).scores):
        folds = [losses[at, len(one.train), list(one.held)] for one in how.plan(EIGHT)]
        means = [numpy.sum([fold.sum() for fold in folds[3 * r : 3 * r + 3]]) / 8 for r in range(2)]
        assert score.value == pytest.approx(numpy.mean(means))
        assert score.estimates == pytest.approx([fold.mean() for fold in folds])
        assert score.deviation == pytest.approx(numpy.std([fold.mean() for fold in folds], ddof=1))
        assert score.accuracy == pytest.approx(numpy.mean(numpy.concatenate(folds) < math.log(2)))
    how = Selection(kind="mdl", folds=3, first=2, orders=4, alpha=2.0)
    for at, score in enumerate(choose(names, evaluate, how, EIGHT).scores):
        blocks = [losses[at, len(one.train), list(one.held)].sum() for one in how.plan(EIGHT)]
        lengths = numpy.reshape(blocks, (4, 3)).sum(1)
        assert score.estimates == pytest.approx(lengths)
        assert score.value == pytest.approx(lengths.mean() + 2 * lengths.std(ddof=1))
        assert score.loss == pytest.approx(lengths.mean() / 6)


def test_dev_is_the_mean_over_dev_examples() -> None:
    table = {"A": (9, 9, 0.2, 0.4), "B": (0, 0, 0.2, 0.6)}
    names = list(table)
    evaluate = by(lambda name, _, place: table[name][place], names)
    choice = choose(names, evaluate, Selection(kind="dev"), EIGHT[:2], dev=2)
    assert [one.value for one in choice.scores] == pytest.approx([0.3, 0.4])
    assert [one.deviation for one in choice.scores] == pytest.approx([0.1 * 2**0.5, 0.2 * 2**0.5])
    assert (choice.chosen, choice.note) == ("A", "")


def test_more_dev_examples_than_training_examples_are_told() -> None:
    evaluate = by(lambda name, *_: float(name == "A"), ["A", "B"])
    choice = choose(["A", "B"], evaluate, Selection(kind="dev"), EIGHT[:2], dev=3)
    note = "chosen by 3 dev examples, more than the 2 there are to learn from: this is no few-shot result"
    assert choice.note == choice.figures()["note"] == choice.to_json()["note"] == note


TABLES = some.lists(some.lists(some.floats(0.01, 5), min_size=6, max_size=6), min_size=2, max_size=4, unique_by=tuple)
WAYS = [Selection(folds=3), Selection(folds=None, alpha=1.0), Selection(kind="mdl", folds=2), Selection(kind="mdl")]


@pytest.mark.parametrize("how", WAYS[:3])
@given(rows=TABLES)
def test_the_order_of_candidates_and_a_dominated_one_change_nothing(how: Selection, rows: list[list[float]]) -> None:
    table = {str(at): row for at, row in enumerate(rows)}
    choice = fixed(table, how)
    if choice.tied:
        return
    assert fixed(dict(reversed(table.items())), how).chosen == choice.chosen
    worse = {"worse": [loss + 1 for loss in table[choice.chosen]]}
    assert fixed(worse | table, how).chosen == choice.chosen


def test_of_equals_the_first_is_chosen_and_the_others_are_told() -> None:
    table = {"A": (0.9,) * 8, "B": (0.5,) * 8, "C": (0.5,) * 8}
    choice = fixed(table, Selection(folds=4))
    assert (choice.chosen, choice.tied) == ("B", ("C",))
    assert choice.figures()["tied"] == "C"


def test_all_are_asked_the_same_once_and_the_result_keeps_it() -> None:
    asked: list[list[Fold]] = []

    def evaluate(at: int, folds: Sequence[Fold]) -> list[Held]:
        asked.append(list(folds))
        return [Held((0.1,) * len(one.held), (True,) * len(one.held)) for one in folds]

    choice = choose(["A", "B"], evaluate, Selection(folds=4, orders=2), EIGHT)
    assert asked[0] == asked[1] == list(choice.folds)
    assert len(asked) == 2


def test_what_choosing_is_worth_is_measured_where_nothing_was_chosen_by() -> None:
    """A is better on 0 and 1, B on 2; of each, the other two choose."""
    table = {"A": (0.1, 0.2, 1.9), "B": (1.0, 1.0, 0.3)}
    choice = fixed(table, Selection(folds=None, nested=True))
    assert choice.expected is not None
    # without 0: A 2.1, B 1.3 -> B; without 1: A 2.0, B 1.3 -> B; without 2: A .3, B 2 -> A. None of them is right.
    by_place = {fold.held[0]: name for fold, name in zip(choice.folds, choice.expected.chosen, strict=True)}
    assert by_place == {0: "B", 1: "B", 2: "A"}
    assert choice.expected.loss == pytest.approx((1.0 + 1.0 + 1.9) / 3)
    assert choice.expected.accuracy == 0
    assert choice.expected.standard_error == pytest.approx(numpy.std([1, 1, 1.9], ddof=1) / 3**0.5)
    figures = choice.figures()
    assert (figures["chosen"], figures["expected_loss"]) == ("A", pytest.approx(1.3))
    assert figures["loss"] == pytest.approx(2.2 / 3)


@pytest.mark.parametrize("how", [*WAYS, Selection(kind="mdl", folds=2, first=4), Selection(folds=8)])
def test_nested_choices_never_see_what_they_are_measured_on(how: Selection) -> None:
    how = replace(how, nested=True, folds=how.folds and min(how.folds, 8))
    outer = Selection(folds=how.folds, seed=how.seed).plan(EIGHT)
    asked: list[Fold] = []

    def evaluate(at: int, folds: Sequence[Fold]) -> list[Held]:
        asked.extend(folds)
        return [Held((0.1 + at,) * len(one.held), (True,) * len(one.held)) for one in folds]

    choice = choose(["A", "B"], evaluate, how, EIGHT)
    assert choice.expected is not None
    assert choice.expected.chosen == ("A",) * len(outer)
    assert choice.expected.loss == pytest.approx(0.1)
    inner = [one for one in asked if one not in choice.folds and one not in outer]
    assert inner
    assert all(any(set(one.train) < set(fold.train) for fold in outer) for one in inner)
    assert not any({*one.train} & {*one.held} for one in inner)
    for at, fold in enumerate(outer):  # B is far better there, and the choice without it doesn't know
        better = by(
            lambda name, _, place, held=fold.held: {"A": 0.1, "B": -9.0 if place in held else 1.1}[name], ["A", "B"]
        )
        found = choose(["A", "B"], better, how, EIGHT).expected
        assert found is not None
        assert found.chosen[at] == "A"


def test_cross_validation_learns_once_for_two_folds_left_out() -> None:
    asked: list[Fold] = []

    def evaluate(at: int, folds: Sequence[Fold]) -> list[Held]:
        asked.extend(folds)
        return [Held((0.1 + at,) * len(one.held), (True,) * len(one.held)) for one in folds]

    choose(["A", "B"], evaluate, Selection(folds=4, nested=True), EIGHT)
    assert len(asked) == 2 * (4 + 4 * 3 // 2)


def test_nothing_is_asked_of_a_single_candidate() -> None:
    choice = choose(["A"], lambda at, folds: pytest.fail("asked"), Selection(), EIGHT[:1])
    assert (choice.chosen, choice.scores, choice.tied) == ("A", (), ())


def failing(at: int, folds: Sequence[Fold]) -> list[Held]:
    """The first candidate fails on the last fold."""
    held = [Held((1.0,) * len(one.held), (False,) * len(one.held)) for one in folds]
    return held if at else [*held[:-1], Held(failed="the loss is nan")]


def test_a_candidate_that_fails_comes_last_with_the_reason() -> None:
    choice = choose(["A", "B"], failing, Selection(folds=2), EIGHT)
    assert choice.chosen == "B"
    assert (choice.scores[0].value, choice.scores[0].failed) == (math.inf, "the loss is nan")
    told = choice.to_json()["scores"][0]
    assert (told["value"], told["accuracy"], told["deviation"], len(told["folds"])) == (None, None, None, 1)


def test_where_all_fail_there_is_no_choice() -> None:
    def evaluate(at: int, folds: Sequence[Fold]) -> list[Held]:
        return [Held(failed=f"no {at}") for _ in folds]

    with pytest.raises(PromptAtlasError) as caught:
        choose(["A", "B"], evaluate, Selection(folds=2), EIGHT)
    assert str(caught.value) == "every candidate failed; `A`: no 0"


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_not_a_number_is_refused(loss: float) -> None:
    with pytest.raises(DataError) as caught:
        fixed({"A": (0.1,) * 8, "B": (0.1,) * 7 + (loss,)}, Selection())
    assert str(caught.value) == "the candidate `B` has a loss that is not a number"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "there is nothing to choose from\n\nhint: give two candidates or more"),
        (["A", "B", "A"], "two candidates have the name `A`\n\nhint: give each its own"),
    ],
)
def test_candidates_have_names_of_their_own(names: list[str], message: str) -> None:
    with pytest.raises(SettingError) as caught:
        choose(names, failing, Selection(folds=2), EIGHT)
    assert str(caught.value) == message


def test_a_choice_is_json() -> None:
    choice = fixed(LEFT_OUT, Selection(folds=None, nested=True))
    told = json.loads(json.dumps(choice.to_json(), allow_nan=False))
    assert told["how"]["kind"] == "cv"
    assert told["chosen"] == "A"
    assert told["scores"][0]["value"] == pytest.approx(0.5)
    assert {(*one["train"], *one["held"]) for one in told["folds"]} == {(*one.train, *one.held) for one in choice.folds}
    assert sorted(fold["loss"] for fold in told["scores"][0]["folds"]) == [0.2, 0.4, 0.9]
    assert told["expected"]["chosen"] == list(choice.expected.chosen if choice.expected else ())


@pytest.mark.parametrize(
    ("measures", "at", "found"),
    [
        ((0.5, 0.7, 0.9), 1, Judged(0.7, False, False, 0.0)),
        ((0.5, 0.7, 0.9), 2, Judged(0.9, True, False, 100.0)),
        ((0.5, 0.7, 0.9), 0, Judged(0.5, False, True, -100.0)),
        ((0.6, 0.6), 0, Judged(0.6, True, True, 0.0)),
    ],
)
def test_a_choice_is_judged_between_the_mean_and_the_best(measures: tuple[float, ...], at: int, found: Judged) -> None:
    assert judged(measures, at).gain == pytest.approx(found.gain)
    assert replace(judged(measures, at), gain=found.gain) == found
