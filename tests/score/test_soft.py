import pytest
import torch
from tests.score.asking import fold

from promptatlas.data.example import Example
from promptatlas.errors import SettingError, WordError
from promptatlas.lm.ask import Hidden, Read
from promptatlas.lm.scripted import ScriptedLM
from promptatlas.parts.head import Head
from promptatlas.parts.head import LabelVectors as LabelRows
from promptatlas.score.soft import Classifier, LabelVectors
from promptatlas.text.template import Template

LM = ScriptedLM(["a", "b"], lambda text: {"a": 0.0}, embedding=lambda text: (float(text.count("a")), 1.0))
EXAMPLES = [Example({"text": "a a"}), Example({"text": "b"})]
WEIGHT, BIAS = torch.tensor([[1.0, 0.0], [0.0, 2.0], [-1.0, 1.0]]), torch.tensor([0.0, 0.5, 0.0])
LOGITS = [[2.0, 2.5, -1.0], [0.0, 2.5, 1.0]]
LABELS = ("x", "y", "z")


def test_a_classifier_reads_states_through_its_head() -> None:
    parts = {"head": Head(WEIGHT, BIAS)}
    words = Classifier(labels=LABELS, pool="last")
    assert fold(LM, words, "{text}", EXAMPLES, parts=parts).tolist() == LOGITS
    massed = fold(LM, words, "{text}", EXAMPLES, parts=parts, mass=True)
    torch.testing.assert_close(massed, torch.tensor(LOGITS).log_softmax(-1))
    assert fold(LM, words, "{text}", [], parts=parts).shape == (0, 3)


def test_a_classifier_over_several_layers() -> None:
    parts = {"head": Head(torch.cat([WEIGHT, WEIGHT], -1), BIAS)}
    found = fold(LM, Classifier(labels=LABELS, layers=(-1, -2)), "{text}", EXAMPLES, parts=parts)
    torch.testing.assert_close(found, (torch.tensor(LOGITS) - BIAS) * 2 + BIAS)


def test_a_classifier_of_each_item_scores_the_items_of_all_examples_one_behind_the_other() -> None:
    words, parts = Classifier(labels=LABELS, pool="each"), {"head": Head(WEIGHT, BIAS)}
    assert words.queries(LM, Template.parse("{tokens:each}"), EXAMPLES[0])[0].asks == (Hidden((-1,), "slot"),)
    states = ([[2.0, 1.0], [0.0, 1.0]], [], [[-1.0, 3.0]])  # two items, none, one
    readings = [[(Read(torch.tensor(one).reshape(-1, 2)),)] for one in states]
    found = words.fold(readings, LM, Template.parse("{tokens:each}"), parts)
    assert found.tolist() == [[2.0, 2.5, -1.0], [0.0, 2.5, 1.0], [-1.0, 6.5, 4.0]]  # W s + b, by hand
    massed = words.fold(readings, LM, Template.parse("{tokens:each}"), parts, mass=True)
    torch.testing.assert_close(massed, found.log_softmax(-1))


def test_a_classifier_of_each_item_wants_items() -> None:
    with pytest.raises(SettingError) as caught:
        fold(LM, Classifier(labels=LABELS, pool="each"), "{text}", EXAMPLES, parts={"head": Head(WEIGHT, BIAS)})
    assert str(caught.value) == (
        "labels are read at each item, and `{text}` shows none\n\n"
        "hint: write {tokens:each} where the items of a list are to be read"
    )


def test_label_vectors_stand_in_for_words() -> None:
    parts = {"label_vectors": LabelRows(WEIGHT, BIAS)}
    words = LabelVectors(labels=LABELS)
    assert fold(LM, words, "{text} {mask}", EXAMPLES, parts=parts).tolist() == LOGITS
    massed = fold(LM, words, "{text} {mask}", EXAMPLES, parts=parts, mass=True)
    torch.testing.assert_close(massed, torch.tensor(LOGITS).log_softmax(-1))


@pytest.mark.parametrize(
    ("words", "template", "part"),
    [
        (Classifier(labels=LABELS), "{text}", Head(WEIGHT, BIAS)),
        (Classifier(labels=LABELS, pool="slot"), "{text} {mask}", Head(WEIGHT, BIAS)),
        (LabelVectors(labels=LABELS, part="head"), "{text} {mask}", LabelRows(WEIGHT, BIAS)),
    ],
)
def test_gradients_reach_the_part(words: Classifier | LabelVectors, template: str, part: Head | LabelRows) -> None:
    fold(LM, words, template, EXAMPLES, parts={"head": part})[:, 0].sum().backward()
    assert part.weight.grad is not None
    assert part.weight.grad.tolist() == [[2.0, 2.0], [0.0, 0.0], [0.0, 0.0]]


@pytest.mark.parametrize("words", [Classifier(labels=LABELS), LabelVectors(labels=LABELS, part="head")])
def test_a_part_that_is_missing_or_does_not_fit(words: Classifier | LabelVectors) -> None:
    kind = Head if isinstance(words, Classifier) else LabelRows
    with pytest.raises(SettingError, match="labels are read by the part `head`, which the prompt does not have"):
        fold(LM, words, "{text} {mask}", EXAMPLES, parts={"heat": kind(WEIGHT, BIAS)})
    with pytest.raises(SettingError, match="the part `head` scores 2 labels, and the prompt has 3"):
        fold(LM, words, "{text} {mask}", EXAMPLES, parts={"head": kind(WEIGHT[:2], BIAS[:2])})


def test_several_slots_are_refused() -> None:
    with pytest.raises(WordError, match="labels are read at one slot, and the template has 2"):
        fold(
            LM,
            Classifier(labels=LABELS, pool="slot"),
            "{mask:a} {mask:b}",
            EXAMPLES,
            parts={"head": Head(WEIGHT, BIAS)},
        )


@pytest.mark.parametrize("kind", [Classifier, LabelVectors])
def test_labels_have_to_be_told_apart(kind: type[Classifier] | type[LabelVectors]) -> None:
    with pytest.raises(SettingError, match="label `x` is there twice"):
        kind(labels=("x", "y", "x"))
    with pytest.raises(SettingError, match="there are no labels"):
        kind(labels=())
    with pytest.raises(SettingError, match="there is no label `w`"):
        kind(labels=LABELS).word("w")
    assert kind(labels=LABELS).word("y") == "y"


@pytest.mark.parametrize(
    "words",
    [
        Classifier(labels=LABELS, pool="mean", layers=(-1, 3), part="h"),
        Classifier(labels=LABELS, pool="each"),
        LabelVectors(labels=LABELS, part="v"),
    ],
)
def test_they_are_saved(words: Classifier | LabelVectors) -> None:
    assert type(words).build(words.config(), words.tensors()) == words
