"""Descriptions: rows, one answer out of their scores, and what is refused."""

import math

import numpy
import pytest
import torch

from promptatlas.artifact.kinds import find
from promptatlas.data.descriptions import Descriptions, added, labelled
from promptatlas.data.example import Example
from promptatlas.data.view import Choices, One
from promptatlas.errors import DataError, SettingError

TEXTS = {"up": "This is good.", "down": "This is bad.", "flat": "This is nothing."}
VIEW = Descriptions(("up", "down", "flat"), TEXTS)
ALONE = Descriptions(("down", "up"), {"up": "This is good."}, right="yes")
EXAMPLE = Example({"text": "fine"}, "up", "train:3")


def test_a_row_a_description() -> None:
    rows = VIEW.rows(EXAMPLE)
    assert [row.fields["description"] for row in rows] == list(TEXTS.values())
    assert {(row.fields["text"], row.key, row.target) for row in rows} == {("fine", "train:3", "up")}
    assert [row.fields["description"] for row in ALONE.rows(EXAMPLE)] == ["This is good."]
    assert "description" not in EXAMPLE.fields


def test_descriptions_stand_in_the_order_of_labels_however_they_are_given() -> None:
    turned = Descriptions(("up", "down", "flat"), dict(reversed(TEXTS.items())))
    assert turned == VIEW
    assert turned.described == ("up", "down", "flat")


def test_the_likeliest_description_s_label_is_answered() -> None:
    """The oracle: margins of 2 and 0.5 are probabilities of .880797 and .622459."""
    p = numpy.array([0.880797, 0.622459, 0.5])
    scores = numpy.log(numpy.stack([p, 1 - p], 1))
    answer = VIEW.fold(EXAMPLE, scores, ("yes", "no"))
    assert answer.value == "up"
    odds = p / (1 - p)
    assert list(answer.probabilities.values()) == pytest.approx(list(odds / odds.sum()))
    assert VIEW.odds(torch.tensor(scores), ("yes", "no")).tolist() == pytest.approx([2.0, 0.5, 0.0], abs=1e-5)


def test_what_a_three_way_head_says_beside_right_is_summed() -> None:
    scores = torch.tensor([[0.2, 0.3, 0.5], [0.1, 0.6, 0.3], [0.8, 0.1, 0.1]]).log()
    view = Descriptions(VIEW.labels, TEXTS, right="entailment")
    labels = ("contradiction", "entailment", "neutral")
    assert view.odds(scores, labels).tolist() == pytest.approx([math.log(p / (1 - p)) for p in (0.3, 0.6, 0.1)])
    assert view.fold(EXAMPLE, scores, labels).value == "down"
    for order in ([1, 0, 2], [0, 2, 1]):  # whichever of a head's labels it is
        turned = view.logits(scores[:, order], [labels[at] for at in order])
        torch.testing.assert_close(turned, view.logits(scores, labels))


def test_turning_descriptions_turns_scores() -> None:
    scores = torch.tensor([[-1.0, -2.0], [-3.0, -1.0], [-2.0, -2.0]])
    turned = Descriptions(("flat", "up", "down"), TEXTS)
    found = turned.logits(scores[[2, 0, 1]], ("yes", "no"))
    assert found.tolist() == VIEW.logits(scores, ("yes", "no"))[[2, 0, 1]].tolist()


def test_the_first_of_equals_is_answered() -> None:
    assert VIEW.fold(EXAMPLE, [[-1.0, -1.0]] * 3, ("yes", "no")).value == "up"


@pytest.mark.parametrize(("p", "value"), [(0.7, "up"), (0.3, "down")])
def test_of_one_description_what_does_not_follow_is_the_other_label(p: float, value: str) -> None:
    scores = torch.tensor([[p, 1 - p]]).log()
    answer = ALONE.fold(EXAMPLE, scores, ("yes", "no"))
    assert answer.value == value
    assert answer.probabilities == pytest.approx({"down": 1 - p, "up": p})
    assert answer.confidence == pytest.approx(max(p, 1 - p))
    assert ALONE.logits(scores, ("yes", "no")).softmax(-1).tolist() == pytest.approx([1 - p, p])


def test_gradients_pass() -> None:
    scores = torch.zeros(1, 2, requires_grad=True)
    ALONE.logits(scores.log_softmax(-1), ("yes", "no"))[1].backward()
    assert scores.grad is not None
    assert scores.grad.tolist() == [[1.0, -1.0]]


@pytest.mark.parametrize(
    ("labels", "texts", "message"),
    [
        ("abc", {"a": "x", "b": "y"}, "the label `c` has no description\n\nhint: describe every label, or one of two"),
        ("ab", {}, "the label `a` has no description\n\nhint: describe every label, or one of two"),
        ("ab", {"a": "x", "b": " "}, "the description of `b` is empty\n\nhint: say in words what the label means"),
        ("ab", {"a": "x", "b": "x "}, "`a` and `b` have one description, `x `\n\nhint: tell them apart"),
        ("ab", {"a": "x", "c": "y"}, "a description for `c`, which is no label\n\nhint: there are `a`, `b`"),
        ("a", {"a": "x"}, "descriptions of 1 label\n\nhint: there is nothing to choose from"),
    ],
)
def test_descriptions_that_can_t_answer_are_refused(labels: str, texts: dict[str, str], message: str) -> None:
    with pytest.raises(SettingError) as caught:
        Descriptions(tuple(labels), texts)
    assert str(caught.value) == message


def test_says_what_is_wrong_with_an_example_or_its_scores() -> None:
    with pytest.raises(SettingError) as caught:
        VIEW.rows(Example({"description": "x"}, key="k"))
    assert str(caught.value) == (
        "example `k` has a field `description` already\n\n"
        "hint: show the description under another name: Descriptions(shown=...)"
    )
    with pytest.raises(SettingError, match="no label `yes`"):
        ALONE.fold(EXAMPLE, [[0.0, 0.0]], ("no", "maybe"))
    with pytest.raises(DataError, match="has scores of 2 rows by \\[2\\] labels, not 3 by 2"):
        VIEW.fold(EXAMPLE, [[0.0, 0.0]] * 2, ("yes", "no"))


@pytest.mark.parametrize("view", [VIEW, ALONE, Descriptions(("a", "b"), {"b": ""}, "said", "yes")])
def test_what_is_saved_is_what_is_built(view: Descriptions) -> None:
    assert find("view", view.kind) is Descriptions
    assert Descriptions.build(view.config(), view.tensors()) == view


def test_what_a_view_answers_with_and_adds() -> None:
    assert [labelled(view, ("yes", "no")) for view in (One(), Choices(), VIEW)] == [("yes", "no"), (), VIEW.labels]
    assert [added(view) for view in (One(), Choices(), ALONE)] == [set(), {"choice"}, {"description"}]
