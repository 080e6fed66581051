import json
from collections.abc import Mapping

import pytest
import torch
from tests.score.asking import fold
from torch import Tensor

from promptatlas.data.example import Example
from promptatlas.errors import SettingError, TemplateError, WordError
from promptatlas.lm.scripted import ScriptedLM
from promptatlas.prompting import Prompt
from promptatlas.prompting.make import prompt
from promptatlas.score.slots import SlotWords, slotted
from promptatlas.score.words import Words
from promptatlas.testing.tiny import names, tiny
from promptatlas.text.template import Shown, Template

TEXT = "{text} {mask:who} was {mask:what}"
HERE = Example({"text": "x"})
TABLE = {"A": ("person", "born"), "B": ("org", "founded"), "C": ("person", "founded")}
LOGITS = {"person": 2.0, "org": 1.0, "born": 0.5, "founded": 1.5, "x": 3.0}
SLOTS = (torch.tensor([2.0, 1.0]), torch.tensor([0.5, 1.5]))
TINY = {"A": ("good", "cat"), "B": ("bad", "dog"), "C": ("good", "dog")}  # words the tiny models know


def answers(text: str) -> Mapping[str, float]:
    return LOGITS


def model(kind: str = "masked") -> ScriptedLM:
    return ScriptedLM(("x", "was", "person", "org", "born", "founded", "ran"), answers, kind=kind)  # type: ignore[arg-type]


def scores(words: SlotWords, *, mass: bool = False) -> Tensor:
    return fold(model(), words, TEXT, [HERE], mass=mass)[0]


def test_worked_example() -> None:
    """z = (person 2, org 1), (born .5, founded 1.5): the labels come to 2.5, 2.5 and 3.5."""
    wanted = torch.tensor([0.211942, 0.211942, 0.576117])
    torch.testing.assert_close(scores(SlotWords(words=TABLE)).softmax(-1), wanted, atol=1e-6, rtol=0)


def test_a_score_is_the_sum_over_slots_of_log_probabilities_among_candidates() -> None:
    who, what = (slot.log_softmax(-1) for slot in SLOTS)
    wanted = torch.stack([who[0] + what[0], who[1] + what[1], who[0] + what[1]])
    torch.testing.assert_close(scores(SlotWords(words=TABLE)), wanted)


def test_where_every_combination_is_a_label_the_labels_are_all_there_is() -> None:
    every = {**TABLE, "D": ("org", "born")}
    torch.testing.assert_close(scores(SlotWords(words=every)).exp().sum(), torch.tensor(1.0))


def test_mass_is_under_the_vocabulary() -> None:
    whole = torch.tensor(list(LOGITS.values())).logsumexp(-1)
    wanted = torch.tensor([2.5, 2.5, 3.5]) - 2 * whole
    torch.testing.assert_close(scores(SlotWords(words=TABLE), mass=True), wanted)


def test_logits_products_and_masses_rank_alike() -> None:
    draw = torch.Generator().manual_seed(0)
    places = torch.tensor([[0, 1, 2], [1, 1, 0], [2, 0, 1], [0, 0, 0]])
    for _ in range(100):
        logits = torch.randn(3, 3, generator=draw)
        sums, products = (
            torch.stack([sum(one[at, place] for at, place in enumerate(row)) for row in places])  # type: ignore[arg-type]
            for one in (logits, logits.log_softmax(-1))
        )
        assert int(sums.argmax()) == int(products.argmax())
        torch.testing.assert_close(sums.softmax(-1), products.softmax(-1))


def test_one_slot_is_what_label_words_are() -> None:
    one = {"A": ("person",), "B": ("org",)}
    slots, plain = (fold(model(), words, "{text} {mask}", [HERE]) for words in (SlotWords(words=one), Words(words=one)))
    torch.testing.assert_close(slots.softmax(-1), plain.softmax(-1))


def test_labels_that_share_a_word_share_its_logit() -> None:
    lm, words = tiny("bert"), SlotWords(words=TINY)
    template = Template.parse(TEXT)
    readings = [[(one,)] for one in _reads(lm, words, template)]
    slots = words.at_slots(readings, lm, template)  # type: ignore[arg-type]
    leaf = slots[0].detach().requires_grad_()
    words.whole([leaf, slots[1].detach()], lm, template)[0, [0, 2]].sum().backward()
    assert leaf.grad is not None
    assert leaf.grad.tolist() == [[2.0, 0.0]]


def test_a_label_of_words_that_are_there_changes_no_slot() -> None:
    lm, template = tiny("bert"), Template.parse(TEXT)
    found = []
    for table in (TINY, {**TINY, "D": ("bad", "cat")}):
        words = SlotWords(words=table)
        readings = [[(one,)] for one in _reads(lm, words, template)]
        found.append(words.at_slots(readings, lm, template))  # type: ignore[arg-type]
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def _reads(lm: object, words: SlotWords, template: Template) -> list[object]:
    made = Prompt(template=template, words=words)
    lines, _ = made.lines(lm, [Example({"text": "the cat"})])  # type: ignore[arg-type]
    jobs = [job for one in made.reader(lm).wanted(lines, mass=False) for job in one.jobs]  # type: ignore[arg-type]
    return [reading[0] for reading in lm.read(jobs)]  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", names("masked"))
def test_the_best_word_of_every_slot_makes_the_best_label(name: str) -> None:
    lm, table = tiny(name), {f"{a}{b}": (a, b) for a in ("good", "bad") for b in ("cat", "dog")}
    made = prompt(TEXT, table)
    assert isinstance(made.words, SlotWords)
    texts = [Example({"text": text}) for text in ("the cat sat", "rain", "old town on the hill")]
    with torch.no_grad():
        lines, _ = made.lines(lm, texts)
        jobs = [job for one in made.reader(lm).wanted(lines, mass=False) for job in one.jobs]
        slots = made.words.at_slots([[one] for one in lm.read(jobs)], lm, made.template)
    best = [[one[at].argmax().item() for one in slots] for at in range(3)]
    words = [tuple(some[at] for some, at in zip(made.words.candidates, row, strict=True)) for row in best]  # type: ignore[index]
    assert ["".join(row) for row in words] == [one.value for one in made.predict(lm, texts)]


def test_words_that_are_one_token_count_once() -> None:
    lm = tiny("bert")  # uncased
    words = SlotWords(words={"A": ("Good", "cat"), "B": ("good", "dog")})
    assert words.places(lm, Template.parse(TEXT)).tolist() == [[0, 0], [0, 1]]


def test_a_demonstration_shows_a_word_a_slot() -> None:
    seen: list[str] = []
    lm = ScriptedLM(("x", "was", "person", "org", "born", "founded", "ran"), lambda text: seen.append(text) or LOGITS)  # type: ignore[func-returns-value]
    words = SlotWords(words=TABLE)
    fold(lm, words, TEXT, [HERE], demos=[Shown({"text": "ran"}, words.word("A"))])
    assert all("ran person was born" in text for text in seen)


def test_saved_and_built_it_is_the_same() -> None:
    words = SlotWords(words=TABLE)
    again = SlotWords.build(json.loads(json.dumps(words.config())), words.tensors())
    assert again == words
    assert hash(again) == hash(words)
    assert list(again.words) == list(words.words)
    assert words.candidates == (("person", "org"), ("born", "founded"))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, "there are no labels"),
        ({"A": ("a", " ")}, "label `A` has a slot without a word"),
        ({"A": ()}, "label `A` has a slot without a word"),
        ({"A": ("a", "b"), "B": ("a",)}, "label `A` has 2 words and label `B` has 1: `a`"),
        ({"A": ("a", "b"), "B": ("a", "b")}, "labels `A` and `B` have the same words: `a`, `b`"),
    ],
)
def test_words_no_model_could_tell_apart(table: dict[str, tuple[str, ...]], message: str) -> None:
    with pytest.raises(WordError, match=message):
        SlotWords(words=table)


def test_words_this_model_can_not_tell_apart() -> None:
    lm, template = tiny("bert"), Template.parse(TEXT)
    with pytest.raises(WordError, match="the words of labels `A` and `B` are the same tokens"):
        SlotWords(words={"A": ("Good", "cat"), "B": ("good", "cat")}).places(lm, template)
    with pytest.raises(WordError, match=r"label word `goodness` of label `A` is \d tokens") as caught:
        SlotWords(words={"A": ("goodness", "cat"), "B": ("good", "cat")}).places(lm, template)
    assert "single=False" not in str(caught.value)


def test_words_and_slots_are_as_many() -> None:
    with pytest.raises(WordError, match=r"labels have 2 words each, and .* has 3 slots"):
        prompt("{mask:a} {mask:b} {mask:c}", TABLE)
    with pytest.raises(WordError, match=r"labels have 2 words each, and .* has 1 slots"):
        fold(model(), SlotWords(words=TABLE), "{text} {mask}", [HERE])


@pytest.mark.parametrize("family", ["llama", "t5"])
def test_several_slots_are_for_masked_models(family: str) -> None:
    with pytest.raises(TemplateError, match="fills one slot, and the template has 2"):
        prompt(TEXT, TINY).predict(tiny(family), [HERE])


def test_what_is_slotted() -> None:
    assert slotted(Words.of({"a": "x", "b": "y"})) == SlotWords(words={"a": ("x",), "b": ("y",)})
    with pytest.raises(WordError, match="label `a` has 2 words for one slot: `x`, `z`"):
        slotted(Words.of({"a": ["x", "z"], "b": "y"}))
    with pytest.raises(SettingError, match="no label words"):
        slotted(None)
