from collections import Counter
from itertools import pairwise

import pytest

from promptatlas.data.draw import batch_at, batches, few_shot, folds, split, stretches, turns
from promptatlas.data.example import Example
from promptatlas.errors import DataError, SettingError

MANY = tuple(Example({"text": f"t{i}"}, "abc"[i % 3], f"train:{i}") for i in range(30))


def test_few_shot_takes_k_of_each_label_and_leaves_the_rest_in_order():
    drawn, rest = few_shot(MANY, 4, 0, labels=("a", "b", "c"))
    assert Counter(example.target for example in drawn) == {"a": 4, "b": 4, "c": 4}
    assert {example.key for example in drawn + rest} == {example.key for example in MANY}
    assert list(rest) == [example for example in MANY if example in rest]


def test_few_shot_repeats_by_seed_and_differs_between_seeds():
    draws = [few_shot(MANY, 4, seed, labels=("a", "b", "c")).drawn for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]


def test_the_draw_is_the_same_on_every_machine():
    assert [example.key for example in few_shot(MANY, 3, 7).drawn] == ["train:16", "train:3", "train:12"]


def test_a_smaller_draw_is_part_of_a_larger():
    small, large = (few_shot(MANY, k, 3, labels=("a", "b", "c")).drawn for k in (2, 5))
    assert [example for example in large if example in small] == list(small)


def test_labels_come_mixed():
    targets = [example.target for example in few_shot(MANY, 8, 0, labels=("a", "b", "c")).drawn]
    assert targets != sorted(targets)


def test_without_labels_k_are_drawn_in_all():
    assert len(few_shot(MANY, 5, 0).drawn) == 5


def test_too_few_of_a_label_names_label_and_count():
    with pytest.raises(DataError) as error:
        few_shot(MANY[:4], 2, 0, labels=("a", "b", "c"))
    assert str(error.value) == "label `b` has 1 examples, 2 were asked for\n\nhint: ask for at most 1 of each label"
    with pytest.raises(DataError) as error:
        few_shot(MANY, 1, 0, labels=("a", "d"))
    assert str(error.value) == (
        "label `d` has 0 examples, 1 were asked for\n\nhint: add examples of it, or leave the label out"
    )
    with pytest.raises(DataError) as error:
        few_shot(MANY, 31, 0)
    assert str(error.value) == "there are 30 examples, 31 were asked for"


def test_a_lenient_draw_takes_what_there_is():
    drawn, rest = few_shot(MANY[:4], 2, 0, labels=("a", "b", "c"), lenient=True)
    assert Counter(example.target for example in drawn) == {"a": 2, "b": 1, "c": 1}
    assert rest == ()


def test_examples_outside_the_labels_are_never_drawn():
    drawn, rest = few_shot(MANY, 10, 0, labels=("a", "b"))
    assert {example.target for example in drawn} == {"a", "b"}
    assert {example.target for example in rest} == {"c"}


def test_a_negative_k_is_refused():
    with pytest.raises(SettingError) as error:
        few_shot(MANY, -1, 0)
    assert str(error.value) == "k is -1\n\nhint: draw 1 or more"


def test_split_is_a_partition_that_keeps_the_order():
    first, second = split(MANY, 0.3, 0)
    assert (len(first), len(second)) == (9, 21)
    assert [example for example in MANY if example in first] == list(first)
    assert {example.key for example in first} | {example.key for example in second} == {e.key for e in MANY}
    assert split(MANY, 0.3, 0) == (first, second) != split(MANY, 0.3, 1)


def test_split_refuses_what_is_no_fraction():
    with pytest.raises(SettingError) as error:
        split(MANY, 30.0, 0)
    assert str(error.value) == "the fraction is 30.0\n\nhint: give a number from 0 to 1"


def test_folds_partition_evenly():
    parts = folds(11, 4, 0)
    assert [len(part) for part in parts] == [3, 3, 3, 2]
    assert sorted(index for part in parts for index in part) == list(range(11))
    assert folds(11, 4, 0) == parts != folds(11, 4, 1)


def test_folds_are_stretches_of_one_shuffle():
    assert sum(folds(11, 4, 0), ()) == sum(folds(11, 2, 0), ())


@pytest.mark.parametrize("k", [0, 12])
def test_folds_refuse_more_than_there_are(k):
    with pytest.raises(SettingError) as error:
        folds(11, k, 0)
    assert str(error.value) == f"11 examples can't be divided into {k} folds\n\nhint: ask for 1 to 11 folds"


def test_stretches_are_cut_in_order():
    assert stretches((4, 2, 3, 0, 1), 2) == ((4, 2, 3), (0, 1))
    assert stretches((), 2) == ((), ())


def test_targets_take_turns():
    targets = ["a", "b", "c"] * 4
    order = turns(targets, 0)
    assert sorted(order) == list(range(12))
    for start in range(12):
        for end in range(start + 1, 13):
            counts = [[targets[at] for at in order[start:end]].count(one) for one in "abc"]
            assert max(counts) - min(counts) <= 1
    assert turns(targets, 0) == order != turns(targets, 1)


def test_of_unequal_targets_the_rare_are_spread():
    targets = ["often"] * 9 + ["rare"] * 3
    for seed in range(20):
        rare = [place for place, at in enumerate(turns(targets, seed)) if targets[at] == "rare"]
        assert all(3 <= b - a <= 5 for a, b in pairwise(rare))


def test_an_epoch_of_batches_holds_everything_once():
    steps = list(batches(10, 4, 6, 0))
    assert [len(batch) for batch in steps] == [4, 4, 2, 4, 4, 2]
    for epoch in (steps[:3], steps[3:]):
        assert sorted(index for batch in epoch for index in batch) == list(range(10))
    assert steps[:3] != steps[3:]


def test_batches_resume_at_any_step():
    steps = list(batches(10, 4, 7, 5))
    assert [batch_at(10, 4, step, 5) for step in (6, 0, 3)] == [steps[6], steps[0], steps[3]]


def test_a_batch_larger_than_all_is_all():
    assert sorted(batch_at(3, 8, 2, 0)) == [0, 1, 2]


def test_seeds_and_epochs_are_not_confused():
    assert batch_at(50, 50, 1, 0) != batch_at(50, 50, 0, 1)


def test_a_batch_is_the_callers_own():
    batch_at(5, 5, 0, 0).clear()
    assert len(batch_at(5, 5, 0, 0)) == 5


def test_no_batches_out_of_nothing():
    with pytest.raises(DataError) as error:
        batch_at(0, 4, 0, 0)
    assert str(error.value) == "no examples to draw batches from"
    with pytest.raises(SettingError) as error:
        batch_at(3, 0, -1, 0)
    assert str(error.value) == "batch size 0, step -1\n\nhint: sizes start at 1, steps at 0"
