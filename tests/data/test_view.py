import math
import subprocess
import sys

import numpy
import pytest
import torch

from promptatlas.data.example import Example
from promptatlas.data.view import Answer, Choices, One, Tags, view_from
from promptatlas.errors import ArtifactError, DataError, SettingError

EXAMPLE = Example({"q": "Which is red?", "choices": ("a rose", "a leaf", "a sky")}, "a rose", "train:3")


def test_one_is_the_example_itself():
    assert One().rows(EXAMPLE) == (EXAMPLE,)


@pytest.mark.parametrize("form", [list, numpy.array, torch.tensor])
def test_one_answers_the_likeliest_label(form):
    answer = One().fold(EXAMPLE, form([[math.log(0.25), math.log(0.75)]]), ("no", "yes"))
    assert answer.value == "yes"
    assert answer.confidence == pytest.approx(0.75)
    assert answer.probabilities == pytest.approx({"no": 0.25, "yes": 0.75})
    assert answer.why == ""


def test_one_takes_a_tensor_that_has_a_gradient():
    assert One().fold(EXAMPLE, torch.zeros(1, 2, requires_grad=True), ("no", "yes")).value == "no"


def test_the_first_of_equals_is_answered():
    assert One().fold(EXAMPLE, [[-1.0, -1.0, -2.0]], ("b", "a", "c")).value == "b"


def test_masses_are_brought_to_sum_to_one():
    answer = One().fold(EXAMPLE, [[-1000.0, -1001.0]], ("a", "b"))
    assert sum(answer.probabilities.values()) == pytest.approx(1)
    assert answer.confidence == pytest.approx(1 / (1 + math.exp(-1)))


def test_where_nothing_is_likely_the_answer_says_so():
    assert One().fold(EXAMPLE, [[-math.inf, -math.inf]], ("a", "b")) == Answer(
        "a", 0.5, {"a": 0.5, "b": 0.5}, why="no label has any probability"
    )
    assert One().fold(EXAMPLE, [[-math.inf, -3.0]], ("a", "b")).probabilities == {"a": 0.0, "b": 1.0}


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([[0.0]], "example `train:3` has scores of 1 rows by [1] labels, not 1 by 2"),
        ([[0.0, 0.0], [0.0, 0.0]], "example `train:3` has scores of 2 rows by [2] labels, not 1 by 2"),
        ([[0.0, math.nan]], "example `train:3` has a score that is not a number"),
        ([[0.0, math.inf]], "example `train:3` has a score that is not a number"),
    ],
)
def test_scores_that_do_not_fit_are_refused(scores, message):
    with pytest.raises(DataError) as error:
        One().fold(EXAMPLE, scores, ("a", "b"))
    assert str(error.value) == message


def test_choices_are_rows_that_show_one_choice_each():
    rows = Choices().rows(EXAMPLE)
    assert [row.fields["choice"] for row in rows] == ["a rose", "a leaf", "a sky"]
    assert {row.key for row in rows} == {"train:3"}
    assert {row.target for row in rows} == {"a rose"}
    assert rows[0].fields["q"] == "Which is red?"
    assert "choice" not in EXAMPLE.fields


def test_a_choice_given_twice_is_one_row():
    twice = Example({"choices": ["a", "b", "a"]})
    assert [row.fields["choice"] for row in Choices().rows(twice)] == ["a", "b"]
    assert Choices().fold(twice, [[0.0], [0.0]], ("x",)).probabilities == {"a": 0.5, "b": 0.5}


def test_with_one_label_its_scores_compete():
    scores = numpy.log([[0.1], [0.3], [0.1]])
    answer = Choices().fold(EXAMPLE, scores, ("yes",))
    assert answer.value == "a leaf"
    assert answer.probabilities == pytest.approx({"a rose": 0.2, "a leaf": 0.6, "a sky": 0.2})
    assert answer.confidence == pytest.approx(0.6)


def test_with_several_labels_log_odds_of_the_right_one_compete():
    right = numpy.array([0.5, 0.8, 0.2])
    scores = numpy.log(numpy.stack([right, (1 - right) * 0.25, (1 - right) * 0.75], axis=1))
    odds = right / (1 - right)
    answer = Choices().fold(EXAMPLE, scores, ("yes", "no", "maybe"))
    assert answer.value == "a leaf"
    assert list(answer.probabilities.values()) == pytest.approx(list(odds / odds.sum()))


def test_log_odds_do_not_mind_whether_masses_are_normalised():
    scores = numpy.array([[-1.0, -2.0], [-3.0, -1.0], [-2.0, -2.0]])
    moved = scores + numpy.array([[5.0], [-7.0], [0.0]])
    one, other = (Choices().fold(EXAMPLE, table, ("yes", "no")).probabilities for table in (scores, moved))
    assert one == pytest.approx(other)


def test_the_right_label_may_be_named():
    scores = [[-1.0, -2.0], [-3.0, -1.0], [-2.0, -2.0]]
    assert Choices(right="no").fold(EXAMPLE, scores, ("yes", "no")).value == "a leaf"
    assert Choices(right="yes").fold(EXAMPLE, scores, ("yes", "no")).value == "a rose"
    with pytest.raises(SettingError) as error:
        Choices(right="yess").fold(EXAMPLE, scores, ("yes", "no"))
    assert str(error.value) == "no label `yess`\n\nhint: did you mean `yes`?"


def test_certainty_is_not_a_division_by_zero():
    inf = math.inf
    sure = Choices().fold(EXAMPLE, [[0.0, -inf], [-1.0, -1.0], [-inf, 0.0]], ("yes", "no"))
    assert (sure.value, sure.confidence) == ("a rose", 1.0)
    unsure = Choices().fold(EXAMPLE, [[0.0, -inf], [0.0, -inf], [-inf, -inf]], ("yes", "no"))
    assert unsure.probabilities == {"a rose": 0.5, "a leaf": 0.5, "a sky": 0.0}
    none = Choices().fold(EXAMPLE, [[-inf, 0.0]] * 3, ("yes", "no"))
    assert none.why == "no choice has any probability"


def test_an_example_without_choices_is_refused():
    with pytest.raises(SettingError) as error:
        Choices().rows(Example({"q": "?", "choices": ["y"], "choice": "x"}, key="k"))
    assert str(error.value) == (
        "example `k` has a field `choice` already\n\nhint: show the choice under another name: Choices(shown=...)"
    )
    with pytest.raises(DataError) as error:
        Choices().rows(Example({"q": "?", "choises": ["y"]}, key="k"))
    assert str(error.value) == "example `k` has no field `choices` with its choices\n\nhint: did you mean `choises`?"
    with pytest.raises(DataError) as error:
        Choices().rows(Example({"choices": "a, b"}, key="k"))
    assert str(error.value) == "example `k`: `choices` is not a list of choices"


@pytest.mark.parametrize(
    "view", [One(), Choices(), Choices(field="options", shown="one", right="yes"), Tags(), Tags(field="words")]
)
def test_a_view_is_rebuilt_from_its_config(view):
    assert view_from(view.config()) == view
    assert type(view).build(view.config(), view.tensors()) == view


def test_an_unknown_view_is_named():
    with pytest.raises(ArtifactError) as error:
        view_from({"kind": "choice", "version": 1})
    assert str(error.value) == "no kind of view `choice`\n\nhint: did you mean `choices`?"
    with pytest.raises(ArtifactError) as error:
        view_from({"kind": "one", "version": 2})
    assert str(error.value) == (
        "view `one` is of version 2, this promptatlas reads version 1\n\n"
        "hint: read it with the promptatlas that wrote it"
    )


def test_reading_and_folding_import_neither_torch_nor_numpy():
    code = (
        "import sys, promptatlas.data.read, promptatlas.data.view;"
        "print([name for name in ('torch', 'numpy', 'transformers', 'datasets', 'sklearn') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


@pytest.mark.parametrize(
    ("view", "scores", "labels"),
    [
        (One(), [[-1.0, -2.0, -0.5]], ("a", "b", "c")),
        (Choices(), [[-1.0], [-2.0], [-0.5]], ("yes",)),
        (Choices(), [[-1.0, -2.0], [-3.0, -1.0], [-2.0, -2.5]], ("yes", "no")),
        (Choices(right="no"), [[-1.0, -2.0, 0.0], [-3.0, -1.0, 1.0], [-2.0, -2.5, -1.0]], ("yes", "no", "maybe")),
    ],
)
def test_logits_are_what_fold_takes_the_softmax_of(view, scores, labels):
    table = torch.tensor(scores, dtype=torch.float64, requires_grad=True)
    logits = view.logits(table, labels)
    assert logits.softmax(-1).tolist() == pytest.approx(list(view.fold(EXAMPLE, scores, labels).probabilities.values()))
    logits[0].backward()
    assert table.grad is not None
