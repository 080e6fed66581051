"""What is learned from and what is held back: folds, blocks, orders."""

from collections import Counter
from itertools import pairwise, permutations

import pytest

from promptatlas.errors import SettingError
from promptatlas.train.folds import Fold, Selection, orders

MANY = ["up", "down"] * 16


def labels(places: tuple[int, ...], targets: list[str]) -> Counter[str]:
    return Counter(targets[at] for at in places)


def test_every_example_is_held_back_once_and_the_rest_is_learned_from() -> None:
    targets = ["up"] * 6 + ["down"] * 5
    folds = Selection(folds=4).plan(targets)
    assert [len(one.held) for one in folds] == [3, 3, 3, 2]
    assert sorted(at for one in folds for at in one.held) == list(range(11))
    assert all(sorted(one.train + one.held) == list(range(11)) for one in folds)


def test_folds_and_blocks_hold_every_label_evenly() -> None:
    for kind in ("cv", "mdl"):
        folds = Selection(kind=kind, folds=8, orders=3).plan(MANY)
        assert len(folds) == 24
        assert all(labels(one.held, MANY) == {"up": 2, "down": 2} for one in folds)
    three = ["a", "b", "c"] * 5
    folds = Selection(folds=4).plan(three)  # 4, 4, 4, 3 examples of 3 labels
    assert all(set(labels(one.held, three).values()) <= {1, 2} for one in folds)
    assert all(len(labels(one.held, three)) == 3 for one in folds)


def test_a_rare_label_is_not_heaped_up() -> None:
    targets = ["often"] * 10 + ["rare"] * 3
    folds = Selection(folds=5).plan(targets)
    assert max(labels(one.held, targets)["rare"] for one in folds) == 1


def test_leave_one_out_is_a_fold_an_example_at_the_end_of_an_order() -> None:
    for folds in (Selection(folds=None).plan(MANY[:7]), Selection(folds=7).plan(MANY[:7])):
        assert sorted(one.held for one in folds) == [(at,) for at in range(7)]
        assert all(sorted(one.train + one.held) == list(range(7)) for one in folds)
        assert {one.order for one in folds} == {0}


def test_blocks_are_coded_after_all_that_comes_before() -> None:
    folds = Selection(kind="mdl", folds=3).plan(MANY[:7])
    assert [len(one.held) for one in folds] == [3, 2, 2]
    assert [len(one.train) for one in folds] == [0, 3, 5]
    for before, after in pairwise(folds):
        assert after.train == before.train + before.held


def test_half_may_be_trained_on_and_never_coded() -> None:
    folds = Selection(kind="mdl", folds=8, first=16).plan(MANY)
    assert [(len(one.train), len(one.held)) for one in folds] == [(16 + 2 * at, 2) for at in range(8)]
    assert labels(folds[0].train, MANY) == {"up": 8, "down": 8}
    assert all(labels(one.held, MANY) == {"up": 1, "down": 1} for one in folds)
    single = Selection(kind="mdl", folds=None, first=4).plan(MANY[:6])
    assert [(len(one.train), len(one.held)) for one in single] == [(4, 1), (5, 1)]


@pytest.mark.parametrize("how", [Selection(), Selection(kind="mdl"), Selection(kind="mdl", folds=None, orders=4)])
def test_the_seed_alone_decides(how: Selection) -> None:
    other = Selection(kind=how.kind, folds=how.folds, orders=how.orders, seed=1)
    assert how.plan(MANY) == how.plan(MANY) != other.plan(MANY)


def test_another_order_is_another_partition() -> None:
    folds = Selection(folds=4, orders=2).plan(MANY)
    assert {one.held for one in folds if one.order == 0} != {one.held for one in folds if one.order == 1}
    assert folds[:4] == Selection(folds=4).plan(MANY)  # more orders only add


@pytest.mark.parametrize("count", [2, 3, 5, 6, 9])
def test_in_a_group_of_orders_each_example_stands_at_each_place_once(count: int) -> None:
    for group in orders(count, 1, 3):
        assert len(group) == count
        for place in range(count):
            assert sorted(one[place] for one in group) == list(range(count))


def test_of_five_examples_all_orders_may_be_asked_for() -> None:
    groups = orders(5, 24, 0)
    assert sorted(one for group in groups for one in group) == sorted(permutations(range(5)))
    with pytest.raises(SettingError) as caught:
        orders(5, 25, 0)
    assert str(caught.value) == (
        "5 examples have 120 orders, which are 24 groups of 5\n\n"
        "hint: `orders` counts groups under cv, 24 at most, and orders under mdl"
    )


def test_orders_of_single_examples_come_from_such_groups() -> None:
    groups = orders(6, 2, 7)
    left_out = Selection(folds=None, orders=2, seed=7).plan(MANY[:6])
    assert [one.train + one.held for one in left_out] == [one for group in groups for one in group]
    coded = Selection(kind="mdl", folds=None, orders=8, seed=7).plan(MANY[:6])
    last = [one for one in coded if len(one.train) == 5]
    assert [one.train + one.held for one in last] == [*groups[0], *groups[1][:2]]


def test_dev_is_one_fold_behind_the_training_examples() -> None:
    assert Selection(kind="dev").plan(MANY[:3], 2) == (Fold((0, 1, 2), (3, 4)),)


@pytest.mark.parametrize(
    ("settings", "count", "message"),
    [
        ({"folds": 9}, 8, "8 examples can't be divided into 9 folds\n\nhint: ask for 2 to 8 folds"),
        ({"folds": 1}, 8, "8 examples can't be divided into 1 folds\n\nhint: ask for 2 to 8 folds"),
        ({"folds": None}, 1, "1 examples can't be divided into 1 folds\n\nhint: give 2 examples at least"),
        (
            {"kind": "mdl", "first": 4, "folds": 5},
            8,
            "4 examples, 4 being trained on first, can't be divided into 5 folds\n\nhint: ask for 2 to 4 folds",
        ),
        (
            {"folds": 2, "nested": True},
            2,
            "2 examples can't be chosen by twice\n\nhint: `nested` takes 3 examples or more",
        ),
        (
            {"alpha": -1.0},
            8,
            "a selection of orders=1, first=0, alpha=-1.0, beta=None\n\nhint: 1 order or more, and nothing below 0",
        ),
        ({"first": 2}, 8, '`first` and `beta` say nothing to `cv`\n\nhint: they go with kind="mdl"'),
        (
            {"kind": "mdl", "alpha": 1.0},
            8,
            "`alpha` needs several code lengths to vary\n\nhint: take orders=2 or more",
        ),
        ({"kind": "dev"}, 8, 'there are no dev examples to choose by\n\nhint: kind="cv" takes those of train'),
        (
            {"kind": "dev", "nested": True},
            8,
            '`nested` has no meaning under kind="dev"\n\nhint: measure on the test examples',
        ),
    ],
)
def test_what_cannot_be_is_refused(settings: dict[str, object], count: int, message: str) -> None:
    with pytest.raises(SettingError) as caught:
        Selection(**settings).plan(MANY[:count])
    assert str(caught.value) == message


def test_another_kind_is_refused() -> None:
    how = Selection()
    object.__setattr__(how, "kind", "loo")  # as it comes where no types are checked
    with pytest.raises(SettingError) as caught:
        how.plan(MANY)
    assert str(caught.value) == "there is no selection `loo`\n\nhint: there are `cv`, `dev`, `mdl`"


def test_of_fewer_examples_the_same_is_asked_as_far_as_it_goes() -> None:
    how = Selection(kind="mdl", folds=8, first=16, orders=3)
    assert how.within(28) == how
    assert how.within(20) == Selection(kind="mdl", folds=4, first=16, orders=3)
    assert Selection(folds=None, orders=24).within(4) == Selection(folds=None, orders=6)
    assert len(Selection(folds=None, orders=24).within(4).plan(MANY[:4])) == 24
