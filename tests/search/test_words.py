"""The sheet's oracles of PETAL's scores."""

import math

import pytest
import torch
from torch import Tensor

from promptatlas.errors import DataError, SettingError, WordError
from promptatlas.search.words import LEAST, Evidence, best, evidence, named, scored

POSITIVE, NEGATIVE = [0.4, 0.3], [0.1, 0.2, 0.05, 0.05]
LABELS = ("yes", "no")


def of(q: list[float] | Tensor, targets: list[int], labels: int = 2) -> Evidence:
    """Evidence of probabilities [rows] or [rows words]."""
    values = torch.as_tensor(q, dtype=torch.float64)
    return evidence(values.reshape(len(values), -1).log(), torch.eye(labels)[targets])


TWO_FOUR = [0, 0, 1, 1, 1, 1]


@pytest.mark.parametrize(
    ("score", "balanced", "value"), [("llr", True, 6.966871), ("llr", False, 8.219634), ("ce", True, -4.671618)]
)
def test_numbers_of_one_word(score: str, balanced: bool, value: float) -> None:
    found = scored(of(POSITIVE + NEGATIVE, TWO_FOUR), LABELS, score, balanced=balanced)
    assert float(found[0, 0]) == pytest.approx(value, abs=1e-6)


def test_the_ratio_prefers_a_rare_word_that_tells_and_cross_entropy_a_common_one_that_does_not() -> None:
    q = torch.tensor([[0.2, 0.02]] * 2 + [[0.2, 0.001]] * 4)
    llr, ce = (scored(of(q, TWO_FOUR), LABELS, one)[0].tolist() for one in ("llr", "ce"))
    assert llr == pytest.approx([0.0, 12.059739], abs=1e-5)
    assert ce == pytest.approx([-7.330327, -15.652094], abs=1e-5)


def random(rows: int = 9, words: int = 7, labels: int = 3, seed: int = 0) -> tuple[Tensor, list[int]]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(rows, words + 5, generator=generator, dtype=torch.float64) * 3
    return logits.softmax(-1)[:, :words], [at % labels for at in range(rows)][::-1]


@pytest.mark.parametrize("balanced", [True, False])
@pytest.mark.parametrize("score", ["llr", "ce"])
def test_scores_are_those_of_three_plain_loops(score: str, balanced: bool) -> None:
    q, targets = random(8)
    found = scored(of(q, targets, 3), ("a", "b", "c"), score, balanced=balanced)
    for label in range(3):
        mine = targets.count(label)
        weight = (8 - mine) / mine if balanced else 1.0
        for word in range(q.shape[1]):
            total = 0.0
            for row, target in enumerate(targets):
                one = float(q[row, word])
                inside = math.log(one) - (math.log(1 - one) if score == "llr" else 0.0)
                outside = math.log(1 - one) - (math.log(one) if score == "llr" else 0.0)
                total += weight * inside if target == label else outside
            assert float(found[label, word]) == pytest.approx(total, abs=1e-6)


def test_evidence_adds_up_in_any_order_and_twice_as_much_doubles_scores() -> None:
    q, targets = random()
    whole = scored(of(q, targets, 3), "abc", "llr")
    order = [4, 0, 8, 2, 6, 1, 7, 3, 5]
    pieces = of(q[order[:2]], [targets[at] for at in order[:2]], 3) + of(
        q[order[2:]], [targets[at] for at in order[2:]], 3
    )
    torch.testing.assert_close(scored(pieces, "abc", "llr"), whole, atol=1e-6, rtol=0)
    double = scored(of(q, targets, 3) + of(q, targets, 3), "abc", "llr")
    torch.testing.assert_close(double, 2 * whole)


@pytest.mark.parametrize("targets", [[0, 1, 0, 1, 0, 1], TWO_FOUR])
def test_of_two_labels_one_ranking_is_the_other_turned_round(targets: list[int]) -> None:
    q, _ = random(6)
    one, other = scored(of(q, targets), LABELS, "llr")
    ratio = targets.count(0) / targets.count(1)
    torch.testing.assert_close(other, -ratio * one, atol=1e-6, rtol=0)
    assert one.argsort().tolist() == other.argsort(descending=True).tolist()


def test_a_word_that_is_as_likely_everywhere_tells_nothing() -> None:
    found = of([0.07] * 6, TWO_FOUR)
    assert scored(found, LABELS, "llr").abs().max() < 1e-9
    assert scored(found, LABELS, "llr", balanced=False).abs().min() > 1


def test_guessed_labels_count_by_their_shares() -> None:
    q, targets = random()
    hard = of(q, targets, 3)
    halves = evidence(torch.cat([q, q]).log(), torch.eye(3)[targets].repeat(2, 1) / 2)
    torch.testing.assert_close(scored(halves, "abc", "llr"), scored(hard, "abc", "llr"))


def test_probabilities_of_0_and_1_are_kept_from_infinity_and_counted() -> None:
    found = evidence(torch.tensor([[0.0, -torch.inf], [-1.0, -2.0]]), torch.eye(2))
    assert found.clamped == 2
    assert scored(found, LABELS, "llr").isfinite().all()
    assert float(found.said[0, 1]) == pytest.approx(math.log(LEAST))


def test_the_best_words_are_of_one_label_each() -> None:
    scores = torch.tensor([[3.0, 5.0, 1.0, 0.0], [4.0, 2.0, 1.5, 0.5]])
    assert best(scores, scores, 2, 0) == [[1, 3], [0, 2]]  # words 0 and 2 score higher for the second
    assert best(scores, scores, 9, 0) == best(scores, scores, 9, 4) == [[1], [0, 2, 3]]
    likely = torch.tensor([[0.0, 1.0, 2.0, 3.0], [3.0, 2.0, 1.0, 0.0]])
    assert best(scores, likely, 2, 2) == [[2, 3], [0, 1]]


def test_says_which_words_and_why() -> None:
    found = of(POSITIVE + NEGATIVE, TWO_FOUR)
    both = Evidence(*(torch.cat([one, one], 1) for one in (found.said, found.unsaid, found.shown)), found.size)
    scores = scored(both, LABELS, "llr")
    with pytest.warns(UserWarning, match="label `yes` gets 1 words and not 2: there are no more"):
        words, why = named([[0], [1, 0]], scores, both, LABELS, ["ja", "nein"], 2)
    assert words == {"yes": ("ja",), "no": ("nein", "ja")}
    assert why["words yes"] == "ja 7.0 (0.35/0.1)"


def test_says_what_is_wrong() -> None:
    with pytest.raises(DataError) as caught:
        scored(of([0.1, 0.2], [0, 0]), LABELS, "llr")
    assert str(caught.value) == (
        "label `yes` has all the examples: no word can be told to stand for it\n\nhint: give examples of every label"
    )
    with pytest.raises(DataError, match="label `c` has no example"):
        scored(of([0.1, 0.2], [0, 1], 3), "abc", "llr")
    with pytest.raises(SettingError, match="`score` can't be `lr`"):
        scored(of(POSITIVE, [0, 1]), LABELS, "lr")
    found = of(POSITIVE, [0, 1])
    with pytest.raises(WordError, match="no word is left for label `no`"):
        named([[0], []], scored(found, LABELS, "llr"), found, LABELS, ["ja"], 1)
