import json
import math
import random
import warnings

import numpy
import pytest
import sacrebleu
from scipy import stats
from seqeval.metrics import accuracy_score as tag_accuracy
from seqeval.metrics import f1_score as span_f1
from seqeval.metrics import precision_score as span_precision
from seqeval.metrics import recall_score as span_recall
from sklearn import metrics

from promptatlas.data.metric import Measure, measure
from promptatlas.data.task import METRICS
from promptatlas.errors import DataError, SettingError

RNG = random.Random(0)
LABELS = ["a", "b", "c", "d"]
TARGETS = [RNG.choice(LABELS) for _ in range(200)]
ANSWERS = [target if RNG.random() < 0.6 else RNG.choice(LABELS) for target in TARGETS]


def values(measures: dict[str, Measure]) -> dict[str, float]:
    return {name: one.value for name, one in measures.items()}


def test_labels_agree_with_scikit_learn():
    assert values(measure("label", TARGETS, ANSWERS, labels=LABELS)) == pytest.approx(
        {
            "accuracy": metrics.accuracy_score(TARGETS, ANSWERS),
            "macro_f1": metrics.f1_score(TARGETS, ANSWERS, average="macro"),
            "mcc": metrics.matthews_corrcoef(TARGETS, ANSWERS),
            "micro_f1": metrics.accuracy_score(TARGETS, ANSWERS),
            "invalid": 0,
        }
    )


def test_the_label_that_says_none_holds_is_left_out_of_micro_f1():
    """gold (A,A,NA,B), told (A,B,A,B): 2 right of 4 told and 3 there."""
    found = measure("label", ["A", "A", "NA", "B"], ["A", "B", "A", "B"], none="NA")
    assert found["micro_f1"].value == pytest.approx(0.571429, abs=1e-6)
    theirs = metrics.f1_score(TARGETS, ANSWERS, labels=LABELS[1:], average="micro")
    assert measure("label", TARGETS, ANSWERS, labels=LABELS, none="a")["micro_f1"].value == pytest.approx(theirs)


@pytest.mark.parametrize("answers", [["NA"] * 4, ["B", "NA", "NA", "A"]])
def test_to_say_none_holds_is_no_hit(answers):
    assert measure("label", ["A", "NA", "NA", "B"], answers, labels=["A", "B", "NA"], none="NA")["micro_f1"].value == 0


def test_an_answer_outside_the_labels_says_something_wrong():
    found = measure("label", ["A", "NA"], ["A", "who"], labels=["A", "NA"], none="NA")
    assert found["micro_f1"].value == pytest.approx(2 / 3)


def test_answers_outside_the_labels_are_wrong_and_counted():
    targets, answers = ["a", "b", "b", "a"], ["a", "z", None, "a"]
    found = values(measure("label", targets, answers, labels=("a", "b", "c")))
    assert found == pytest.approx(
        {
            "accuracy": 0.5,
            "macro_f1": (1 + 0) / 2,  # c neither occurs nor is answered
            "mcc": metrics.matthews_corrcoef(targets, ["a", "?", "?", "a"]),
            "micro_f1": 0.5,
            "invalid": 0.5,
        }
    )


def test_what_divides_by_zero_is_zero():
    all_right = {"accuracy": 1, "macro_f1": 1, "mcc": 0, "micro_f1": 1, "invalid": 0}
    assert values(measure("label", ["a", "a"], ["a", "a"])) == all_right
    assert values(measure("label", ["a", "a"], ["z", "z"]))["macro_f1"] == 0
    assert values(measure("number", [1.0, 1.0], [1.0, 2.0])) == {
        "pearson": 0,
        "spearman": 0,
        "mean_absolute_error": 0.5,
        "invalid": 0,
    }


def test_sets_of_labels_agree_with_scikit_learn():
    def draw():
        return frozenset(label for label in LABELS if RNG.random() < 0.4)

    targets = [draw() for _ in range(100)]
    answers = [target if RNG.random() < 0.5 else draw() for target in targets]
    one, other = ([[label in row for label in LABELS] for row in rows] for rows in (targets, answers))
    assert values(measure("labels", targets, answers, labels=LABELS)) == pytest.approx(
        {
            "micro_f1": metrics.f1_score(one, other, average="micro"),
            "macro_f1": metrics.f1_score(one, other, average="macro"),
            "exact_match": metrics.accuracy_score(one, other),
            "invalid": 0,
        }
    )


def test_a_label_too_many_counts_against_precision():
    found = values(measure("labels", [frozenset("a"), frozenset("b")], [frozenset("az"), None]))
    assert found == pytest.approx({"micro_f1": 2 / (2 + 2), "macro_f1": 0.5, "exact_match": 0, "invalid": 1})


def test_numbers_agree_with_scipy():
    targets = [float(RNG.randrange(6)) for _ in range(80)]
    answers = [target + RNG.choice([0.0, 0.5, 3.0]) for target in targets]
    assert values(measure("number", targets, answers, samples=5)) == pytest.approx(
        {
            "pearson": stats.pearsonr(targets, answers).statistic,
            "spearman": stats.spearmanr(targets, answers).statistic,
            "mean_absolute_error": metrics.mean_absolute_error(targets, answers),
            "invalid": 0,
        }
    )


def test_what_is_no_number_is_as_wrong_as_the_targets_range_lets_it_be():
    found = values(measure("number", [1.0, 4.0, 5.0, 2.0], [math.inf, None, math.nan, 2.0]))
    assert found["mean_absolute_error"] == pytest.approx((4 + 3 + 4 + 0) / 4)
    assert found["invalid"] == 0.75


TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]


def test_spans_agree_with_seqeval():
    targets = [tuple(RNG.choice(TAGS) for _ in range(8)) for _ in range(40)]
    answers = [tuple(tag if RNG.random() < 0.8 else RNG.choice(TAGS) for tag in tags) for tags in targets]
    one, other = [list(tags) for tags in targets], [list(tags) for tags in answers]
    assert values(measure("tags", targets, answers)) == pytest.approx(
        {
            "span_f1": span_f1(one, other),
            "span_precision": span_precision(one, other),
            "span_recall": span_recall(one, other),
            "accuracy": tag_accuracy(one, other),
            "invalid": 0,
        }
    )


def test_tags_outside_the_labels_make_no_spans():
    targets = [("B-PER", "O"), ("B-LOC", "O")]
    found = values(measure("tags", targets, [("B-PER", "what"), None], labels=TAGS))
    assert found == pytest.approx(
        {"span_f1": 2 / 3, "span_precision": 1, "span_recall": 0.5, "accuracy": 0.25, "invalid": 0.75}
    )


def test_tags_without_spans_are_only_counted():
    assert values(measure("tags", [("NOUN", "VERB")], [("NOUN", "X")])) == {"accuracy": 0.5, "invalid": 0.5}


def test_tags_must_be_as_many():
    with pytest.raises(DataError) as error:
        measure("tags", [("O", "O")], [("O",)])
    assert str(error.value) == "answer 0 has 1 tags, its target 2"


def test_choices():
    assert values(measure("choice", ["a rose", "a leaf", "x"], ["a rose", "a sky", None])) == pytest.approx(
        {"accuracy": 1 / 3, "invalid": 1 / 3}
    )


TEXTS = [
    ("the small cat sat on the old mat", "a small cat was sitting on the mat"),
    "it rained all day in the green valley",
    ("nobody came to the door that night",),
]
SAID = ["the small cat sat on a mat", "it rained all day in the green valley ", "somebody came to the house"]


def test_texts_agree_with_sacrebleu():
    streams = [[TEXTS[0][0], TEXTS[1], TEXTS[2][0]], [TEXTS[0][1], None, None]]
    assert values(measure("text", TEXTS, SAID, samples=5)) == pytest.approx(
        {
            "bleu": sacrebleu.corpus_bleu(SAID, streams).score,
            "chrf": sacrebleu.corpus_chrf(SAID, streams).score,
            "exact_match": 1 / 3,
            "invalid": 0,
        }
    )


def test_numbers_match_however_they_are_written():
    targets = ["18", ("1,234", "1"), "0.5", "-7", "3"]
    found = measure("text", targets, ["$18.00", "1234", ".50", "7", None], samples=5)
    assert tuple(found) == ("bleu", "chrf", "exact_match", "number_match", "invalid")
    assert found["number_match"].value == pytest.approx(2 / 5)
    assert found["exact_match"].value == 0.0
    assert found["invalid"].value == pytest.approx(1 / 5)


def test_texts_that_are_no_numbers_have_no_number_match():
    assert "number_match" not in measure("text", ["18", "eighteen"], ["18", "18"], samples=5)


def test_a_missing_text_is_an_empty_one():
    found, empty = (values(measure("text", TEXTS, [said, *SAID[1:]], samples=5)) for said in (None, ""))
    assert found == {**empty, "invalid": pytest.approx(1 / 3)}


def test_the_interval_is_the_bootstraps():
    right = numpy.array([one == other for one, other in zip(TARGETS, ANSWERS, strict=True)])
    found = measure("label", TARGETS, ANSWERS, labels=LABELS, samples=20_000)["accuracy"]
    low, high = stats.binom.ppf([0.025, 0.975], len(right), right.mean()) / len(right)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.006)


def test_the_interval_of_sums_is_that_of_drawing_examples():
    plain = numpy.random.default_rng(1)
    targets, answers = TARGETS[:60], ANSWERS[:60]
    drawn = []
    for _ in range(600):
        chosen = plain.integers(60, size=60)
        drawn.append(metrics.f1_score([targets[i] for i in chosen], [answers[i] for i in chosen], average="macro"))
    low, high = numpy.quantile(drawn, [0.025, 0.975])
    found = measure("label", targets, answers)["macro_f1"]
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.03)


@pytest.mark.parametrize(
    ("kind", "targets", "answers"),
    [
        ("label", TARGETS, ANSWERS),
        ("labels", [frozenset(target) for target in TARGETS], [frozenset(answer) for answer in ANSWERS]),
        ("number", [float(ord(target)) for target in TARGETS], [float(ord(answer)) for answer in ANSWERS]),
        ("tags", [("B-" + target,) for target in TARGETS], [("B-" + answer,) for answer in ANSWERS]),
        ("choice", TARGETS, ANSWERS),
        ("text", TARGETS[:20], ANSWERS[:20]),
    ],
)
def test_every_kind_has_its_metrics_with_intervals_that_repeat(kind, targets, answers):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = measure(kind, targets, answers, samples=200, seed=3)
    assert tuple(found) == (*(name for name in METRICS[kind] if name != "number_match"), "invalid")
    assert all(one.low <= one.value <= one.high for name, one in found.items() if name != "bleu")
    assert measure(kind, targets, answers, samples=200, seed=3) == found
    if kind != "text":
        assert measure(kind, targets, answers, samples=200, seed=4) != found


def test_the_interval_does_not_depend_on_the_order():
    again = measure("label", TARGETS[::-1], ANSWERS[::-1], labels=LABELS)
    assert again == measure("label", TARGETS, ANSWERS, labels=LABELS)


def test_a_wider_level_is_a_wider_interval():
    narrow, wide = (measure("label", TARGETS, ANSWERS, level=level)["accuracy"] for level in (0.5, 0.99))
    assert wide.low < narrow.low < narrow.high < wide.high


def test_many_examples_are_drawn_in_parts(monkeypatch):
    whole = measure("label", TARGETS, ANSWERS, samples=50)
    monkeypatch.setattr("promptatlas.data.metric._CELLS", 100)
    assert measure("label", TARGETS, ANSWERS, samples=50) == whole


def test_a_measure_is_json():
    found = measure("choice", ["a", "b"], ["a", "c"])["accuracy"]
    assert json.loads(json.dumps(found.to_json())) == {"name": "accuracy", "value": 0.5, "low": 0.0, "high": 1.0}


@pytest.mark.parametrize(
    ("targets", "answers", "settings", "message"),
    [
        (["a"], [], {}, "1 targets, 0 answers"),
        ([], [], {}, "no examples to measure on"),
        (["a", None], ["a", "a"], {}, "example 1 has no target\n\nhint: measure on labelled examples"),
        (["a", "z"], ["a", "a"], {"labels": ("a", "b")}, "target `z` is not one of the labels"),
        (["a"], ["a"], {"samples": 0}, "0 samples at level 0.95\n\nhint: 1 sample or more, a level between 0 and 1"),
        (["a"], ["a"], {"level": 1.0}, "1000 samples at level 1.0\n\nhint: 1 sample or more, a level between 0 and 1"),
    ],
)
def test_what_can_not_be_measured_says_why(targets, answers, settings, message):
    with pytest.raises((DataError, SettingError)) as error:
        measure("label", targets, answers, **settings)
    assert str(error.value) == message


def test_a_target_that_is_no_number():
    with pytest.raises(DataError) as error:
        measure("number", [1.0, "two"], [1.0, 2.0])
    assert str(error.value) == "target 1 is not a number"
