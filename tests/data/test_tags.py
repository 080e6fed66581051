"""The view of tags: a score row an item, a tag an item."""

import math

import numpy
import pytest

from promptatlas.data.example import Example
from promptatlas.data.read import read_rows
from promptatlas.data.task import Task
from promptatlas.data.view import Answer, Tags
from promptatlas.errors import DataError, SettingError

LABELS = ("B-PER", "I-PER", "O")
EXAMPLE = Example({"tokens": ["Ann", "Lee", "ran"]}, ("B-PER", "I-PER", "O"), "train:3")
SCORES = numpy.log([[0.5, 0.25, 0.25], [0.125, 0.75, 0.125], [0.2, 0.2, 0.6]])


def test_an_answer_is_a_tag_an_item_and_as_likely_as_all_of_them() -> None:
    answer = Tags().fold(EXAMPLE, SCORES, LABELS)
    assert answer.value == ("B-PER", "I-PER", "O")
    assert answer.each == pytest.approx((0.5, 0.75, 0.6))
    assert answer.confidence == pytest.approx(0.5 * 0.75 * 0.6)
    assert (answer.probabilities, answer.why) == ({}, "")


def test_scores_are_brought_to_sum_to_one_item_by_item() -> None:
    moved = SCORES + numpy.array([[3.0], [-40.0], [700.0]])
    assert Tags().fold(EXAMPLE, moved, LABELS).each == pytest.approx((0.5, 0.75, 0.6))


def test_the_first_of_equals_is_taken() -> None:
    assert Tags().fold(EXAMPLE, [[0.0, 0.0, 0.0]] * 3, LABELS).value == ("B-PER",) * 3


def test_items_that_were_not_read_are_told_and_outside() -> None:
    answer = Tags().fold(EXAMPLE, SCORES[:1], LABELS)
    assert answer == Answer(
        ("B-PER", "O", "O"), 0.0, why="the last 2 of 3 items didn't fit, and are answered `O` unread",
        each=(answer.each[0], 0.0, 0.0),
    )  # fmt: skip
    assert answer.each[0] == pytest.approx(0.5)


def test_no_items_have_no_tags() -> None:
    assert Tags().fold(Example({"tokens": []}), [], LABELS) == Answer((), 1.0)


def test_where_no_tag_has_any_probability_it_is_said() -> None:
    answer = Tags().fold(EXAMPLE, [[-math.inf] * 3, [0.0, -1.0, -1.0], [0.0, -1.0, -1.0]], LABELS)
    assert answer.why == "no tag has any probability"
    assert answer.each[0] == pytest.approx(1 / 3)


def test_an_example_is_one_row() -> None:
    assert Tags().rows(EXAMPLE) == (EXAMPLE,)
    assert Tags(field="words").items(Example({"words": ("a", "b")})) == ("a", "b")


@pytest.mark.parametrize(
    ("fields", "scores", "message"),
    [
        ({"tokens": ["a"]}, SCORES, "example `k` has scores of 3 rows by [3] labels, not 1 by 3"),
        ({"tokens": ["a", "b"]}, [[0.0, 1.0]] * 2, "example `k` has scores of 2 rows by [2] labels, not 2 by 3"),
        ({"tokens": ["a"]}, [[0.0, math.nan, 0.0]], "example `k` has a score that is not a number"),
        (
            {"token": ["a"]}, SCORES,
            "example `k` has no field `tokens` with its items\n\nhint: did you mean `token`?",
        ),
        ({"tokens": "a b c"}, SCORES, "example `k`: `tokens` is not a list of items"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(fields: dict[str, object], scores: object, message: str) -> None:
    with pytest.raises(DataError) as caught:
        Tags().fold(Example(fields, None, "k"), scores, LABELS)
    assert str(caught.value) == message


def test_tags_have_no_score_an_example() -> None:
    with pytest.raises(SettingError) as caught:
        Tags().logits(SCORES, LABELS)
    assert str(caught.value) == "tags are scored item by item\n\nhint: use predict, or `prompting.items`"


def test_a_task_of_tags_says_how_it_is_read_and_shown() -> None:
    task = read_rows([{"tokens": ["Ann", "ran"], "tags": ["B-PER", "O"]}])
    assert (task.view, task.metric, task.template) == (Tags(), "span_f1", "{tokens:each}")
    other = read_rows([{"tokens": ["Ann"], "tags": ["O"]}], about={"template": "Tag: {tokens!:each}"})
    assert other.template == "Tag: {tokens!:each}"


def test_a_small_draw_is_so_many_sentences_in_all() -> None:
    rows = [{"tokens": [str(at)], "tags": ["B-NUM" if at % 2 else "O"]} for at in range(10)]
    few = read_rows(rows).few(3, 0)
    assert (len(few.train), len(few.dev), len(few.unlabeled), few.labels) == (3, 3, 4, ("B-NUM", "O"))
    assert few.train == read_rows(rows).few(5, 0).train[:3]
    with pytest.raises(DataError) as caught:
        read_rows(rows).few(11, 0)
    assert str(caught.value) == "there are 10 examples, 11 were asked for"


def test_parts_of_speech_are_counted_and_are_no_spans() -> None:
    assert Task(name="speech", kind="tags", fields=("tokens",), labels=("NOUN", "VERB")).metric == "accuracy"
    with pytest.raises(SettingError) as caught:
        Task(name="speech", kind="tags", fields=("tokens",), labels=("B-NP", "VERB"), metric="span_f1")
    assert str(caught.value) == (
        "`span_f1` counts spans, and `speech` has the tag `VERB`\n\n"
        'hint: take "accuracy"; tags of spans are O, and B-, I-, E- or S- with a name'
    )
