import numpy
import pytest

from promptatlas.data.read import read_rows
from promptatlas.data.target import kind_of
from promptatlas.errors import DataError


def targets(rows, **about):
    task = read_rows(rows, about=about)
    return task.kind, [example.target for example in task.train]


@pytest.mark.parametrize(
    ("columns", "kind"),
    [
        (["text", "label"], "label"),
        (["tokens", "text", "label"], "label"),
        (["text", "labels"], "labels"),
        (["tokens", "tags"], "tags"),
        (["text", "tags", "label"], "label"),
        (["text", "tags"], "tags"),
        (["q", "choices", "label", "answer_idx", "answer"], "choice"),
        (["mr", "references"], "text"),
        (["document", "summary"], "text"),
        (["question", "answer"], "text"),
        (["source", "target"], "text"),
        (["text", "lable"], None),
    ],
)
def test_the_kind_follows_from_the_columns(columns, kind):
    assert kind_of(columns) == kind


def test_labels_are_strings():
    rows = [{"t": "a", "label": value} for value in (0, numpy.int64(1), "x", True, False)]
    assert targets(rows) == ("label", ["0", "1", "x", "true", "false"])


def test_labels_are_sorted_or_as_told():
    rows = [{"t": "a", "label": label} for label in ("b", "c", "a")]
    assert read_rows(rows).labels == ("a", "b", "c")
    assert read_rows(rows, about={"labels": ["c", "a", "b", "d"]}).labels == ("c", "a", "b", "d")


def test_labels_of_every_split_count():
    task = read_rows([{"t": "a", "label": "x"}], test=[{"t": "a", "label": "y"}])
    assert task.labels == ("x", "y")


def test_several_labels():
    rows = [{"t": "a", "labels": ["y", "x", "y"]}, {"t": "b", "labels": []}, {"t": "c", "labels": '["z", 1]'}]
    kind, sets = targets(rows)
    assert (kind, sets) == ("labels", [{"x", "y"}, set(), {"z", "1"}])
    assert read_rows(rows).labels == ("1", "x", "y", "z")


def test_numbers_only_where_told():
    rows = [{"t": "a", "label": "1.5"}, {"t": "b", "label": 4}]
    task = read_rows(rows, about={"kind": "number"})
    assert [example.target for example in task.train] == [1.5, 4.0]
    assert (task.low, task.high, task.labels, task.metric) == (1.5, 4.0, (), "pearson")
    told = read_rows(rows, about={"kind": "number", "low": 0, "high": 5})
    assert (told.low, told.high) == (0.0, 5.0)


def test_tags():
    task = read_rows([{"tokens": ["Ann", "ran"], "tags": ["B-PER", "O"]}, {"tokens": [], "tags": []}])
    assert (task.kind, task.fields, task.labels) == ("tags", ("tokens",), ("B-PER", "O"))
    assert (task.train[0].fields, task.train[0].target) == ({"tokens": ("Ann", "ran")}, ("B-PER", "O"))


@pytest.mark.parametrize(
    "right",
    [
        {"answer_idx": 1},
        {"answer_idx": "1"},
        {"answer_idx": 1, "answer": "leaf", "label": "B"},
        {"answer": "leaf"},
        {"label": "B"},
        {"label": 1},
        {"label": "leaf"},
    ],
)
def test_a_choice_is_told_by_place_letter_or_text(right):
    task = read_rows([{"q": "?", "choices": ["rose", "leaf"], **right}])
    assert (task.kind, task.fields, task.train[0].target) == ("choice", ("q", "choices"), "leaf")
    assert task.train[0].fields == {"q": "?", "choices": ("rose", "leaf")}


def test_a_choice_that_is_a_number_is_told_by_text_first():
    assert targets([{"choices": ["7", "0"], "answer": "0"}]) == ("choice", ["0"])
    assert targets([{"choices": ["7", "0"], "answer_idx": "0"}]) == ("choice", ["7"])


def test_a_choice_given_twice_is_no_error():
    assert targets([{"choices": ["a", "b", "a"], "answer_idx": 2, "answer": "a"}]) == ("choice", ["a"])


def test_texts():
    assert targets([{"mr": "x", "references": ["a", "b"]}]) == ("text", [("a", "b")])
    assert targets([{"d": "x", "summary": "a"}]) == ("text", ["a"])
    assert targets([{"q": "x", "answer": 12}]) == ("text", ["12"])
    assert read_rows([{"q": "x", "answer": "twelve"}, {"q": "y", "answer": "12"}]).metric == "exact_match"
    assert read_rows([{"q": "x", "answer": "12"}, {"q": "y", "answer": "1,200"}]).metric == "number_match"
    assert read_rows([{"d": "x", "summary": "a"}]).metric == "bleu"


def test_fields_are_what_every_split_has():
    task = read_rows(
        [{"a": 1, "b": None, "c": 3, "label": "x"}],
        test=[{"c": 6, "a": 4, "label": "y"}],
        unlabeled=[{"a": 7, "c": 9, "d": 0}],
    )
    assert task.fields == ("a", "c")
    assert [dict(split[0].fields) for split in (task.train, task.test, task.unlabeled)] == [
        {"a": 1, "c": 3},
        {"a": 4, "c": 6},
        {"a": 7, "c": 9},
    ]


def test_fields_are_those_told():
    task = read_rows([{"a": 1, "b": 2, "label": label} for label in "xy"], about={"fields": ["b"]})
    assert (task.fields, dict(task.train[0].fields)) == (("b",), {"b": 2})


def test_unlabeled_rows_lose_the_target_they_have():
    task = read_rows([{"t": "a", "label": label} for label in "xy"], unlabeled=[{"t": "b", "label": "x"}])
    assert (task.unlabeled[0].target, dict(task.unlabeled[0].fields)) == (None, {"t": "b"})


def test_keys_say_split_and_place():
    two = [{"t": "a", "label": label} for label in "xy"]
    task = read_rows(two, dev=two, test=two, unlabeled=[{"t": "a"}])
    every = [example.key for example in task.train + task.dev + task.test + task.unlabeled]
    assert every == ["train:1", "train:2", "dev:1", "dev:2", "test:1", "test:2", "unlabeled:1"]


def test_rows_alone_are_also_tested_on():
    task = read_rows([{"t": "a", "label": label} for label in "xy"], name="mine", about={"description": "Two."})
    assert task.test == task.train
    assert (task.name, task.description) == ("mine", "Two.")


LABEL_HINT = "\n\nhint: rows without targets belong into the split `unlabeled`"


@pytest.mark.parametrize(
    ("rows", "about", "message"),
    [
        ([], {}, "rows: no rows"),
        (
            [{"text": "a", "lable": "x"}],
            {},
            "rows: no column `label`, `labels`, `tags`, `answer_idx`, `answer`, `references`, `summary` or `target`; "
            "there are `text`, `lable`" + LABEL_HINT,
        ),
        (
            [{"text": "a", "class": "x"}],
            {"kind": "label"},
            "rows: no column `label`; there are `text`, `class`" + LABEL_HINT,
        ),
        ([{"t": "a", "tags": ["O"]}], {}, "rows: no column `tokens`; there are `t`, `tags`"),
        (
            [{"t": "a", "answer": "x"}],
            {"kind": "choice"},
            "rows: no column `choices`; there are `t`, `answer`",
        ),
        (
            [{"choices": ["a"]}],
            {},
            "rows: no column `answer_idx`, `answer` or `label`; there are `choices`" + LABEL_HINT,
        ),
        (
            [{"t": "a", "label": "x"}, {"t": "b", "label": "x"}],
            {},
            "rows: every row has the label `x`\n\n"
            "hint: a task has two labels or more; task.json may list them under `labels`",
        ),
        ([{"label": "x"}, {"label": "y"}], {}, "rows: no field beside the target"),
        (
            [{"t": "a", "label": "x"}, {"t": "b", "label": "yess"}],
            {"labels": ["x", "yes"]},
            "rows[1]: label `yess` is not one of `x`, `yes`\n\nhint: did you mean `yes`?",
        ),
        (
            [{"t": "a", "label": "x"}, {"t": "b", "label": None}],
            {},
            "rows[1]: no label\n\nhint: rows without a label belong into the split `unlabeled`",
        ),
        (
            [{"t": "a", "label": 0.5}],
            {},
            "rows[0]: `label` is the number 0.5, not a label\n\n"
            'hint: a task of numbers says so in task.json: {"kind": "number"}',
        ),
        (
            [{"t": "a", "label": ["x"]}],
            {},
            "rows[0]: `label` is an array, not a label\n\nhint: several labels a row stand under `labels`",
        ),
        ([{"t": "a", "label": {}}], {}, "rows[0]: `label` is an object, not a label"),
        ([{"t": "a", "labels": "x"}], {}, "rows[0]: `labels` is a string, not a list"),
        (
            [{"t": "a", "labels": ["x", "z"]}],
            {"labels": ["x", "y"]},
            "rows[0]: label `z` is not one of `x`, `y`\n\nhint: there are `x`, `y`",
        ),
        ([{"t": "a", "labels": "[x"}], {}, "rows[0]: `labels` is not JSON: Expecting value: line 1 column 2 (char 1)"),
        ([{"t": "a", "label": "x"}], {"kind": "number"}, "rows[0]: `label` is `x`, not a number"),
        ([{"t": "a", "label": "nan"}], {"kind": "number"}, "rows[0]: `label` is `nan`, not a number"),
        ([{"t": "a", "label": None}], {"kind": "number"}, "rows[0]: `label` is null, not a number"),
        (
            [{"t": "a", "label": 7}],
            {"kind": "number", "high": 5},
            "rows[0]: 7 is above the highest, 5",
        ),
        ([{"t": "a", "label": 0.5}], {"kind": "number", "low": 1}, "rows[0]: 0.5 is below the lowest, 1"),
        (
            [{"tokens": ["a", "b"], "tags": ["O"]}],
            {},
            "rows[0]: 2 tokens, 1 tags\n\nhint: every token has one tag",
        ),
        ([{"tokens": ["a"], "tags": [0]}], {}, "rows[0]: `tags` holds a number, not only strings"),
        (
            [{"choices": ["a", "b"], "answer_idx": 2}],
            {},
            "rows[0]: `answer_idx` is 2, which is none of 2 choices\n\n"
            "hint: give the choice's text, or its place: 0 or A for the first",
        ),
        (
            [{"choices": ["a", "b"], "answer": "c"}],
            {},
            "rows[0]: `answer` is 'c', which is none of 2 choices\n\n"
            "hint: give the choice's text, or its place: 0 or A for the first",
        ),
        ([{"choices": ["a", "b"], "answer_idx": 0, "answer": "b"}], {}, "rows[0]: choice 0 is 'a', `answer` is 'b'"),
        ([{"choices": ["a", "b"], "answer": None}], {}, "rows[0]: no answer"),
        ([{"t": "a", "references": []}], {}, "rows[0]: no references"),
        ([{"t": "a", "summary": ""}], {}, "rows[0]: no summary"),
        ([{"t": "a", "summary": None}], {}, "rows[0]: `summary` is null, not a text"),
        (
            [{"t": "a", "label": "x"}],
            {"fields": ["text"]},
            "rows: no column `text`; there are `t`, `label`",
        ),
        (
            [{"q": "a", "choices": ["x"], "answer": "x"}],
            {"fields": ["q"]},
            "`fields` leaves out `choices`, which a task of kind choice needs",
        ),
        (
            [{"t": "a", "label": "x"}],
            {"metric": "bleu"},
            "rows: no metric `bleu` for tasks of kind label\n\n"
            "hint: there are `accuracy`, `macro_f1`, `mcc`, `micro_f1`",
        ),
    ],
)
def test_rows_that_make_no_task_say_why(rows, about, message):
    with pytest.raises(DataError) as error:
        read_rows(rows, about=about)
    assert str(error.value) == message


def test_splits_without_a_field_in_common():
    rows = [{"text": "a", "label": label} for label in "xy"]
    with pytest.raises(DataError) as error:
        read_rows(rows, test=[{"sentence": "a", "label": "x"}])
    assert str(error.value) == "no field stands in all of `rows`, `test`"
    with pytest.raises(DataError) as error:
        read_rows(rows, dev=[{"text": "a"}])
    assert str(error.value) == "dev: no column `label`; there are `text`" + LABEL_HINT
