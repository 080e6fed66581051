"""KPT from end to end."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from promptatlas.errors import NeedsError
from promptatlas.methods.kpt import Kpt
from promptatlas.parts.weigh import Weigh, weigh
from promptatlas.prompting import Prompt
from promptatlas.prompting.make import prompt
from promptatlas.score.weighed import Weighed
from promptatlas.score.words import Words
from promptatlas.testing import check_part
from promptatlas.testing.tasks import TEMPLATE, toy, toy_prompt
from promptatlas.testing.tiny import tiny

TASK = toy()
LISTS = "weather: rain, hill, old, grey\npets: cat, dog, mat, good, bad\n"
PLAIN = Kpt(rare=0.0, relevant=False, calibrate=False)


@pytest.fixture
def lists(tmp_path: Path) -> str:
    (tmp_path / "lists.txt").write_text(LISTS, "utf-8")
    return str(tmp_path / "lists.txt")


def bare() -> Prompt:
    return prompt(TEMPLATE, None, view=TASK.view)


def words_of(made: Prompt) -> Words:
    assert isinstance(made.words, Words)
    return made.words


@pytest.mark.parametrize("name", ["bert", "llama", "t5"])
def test_without_refinement_and_with_one_word_it_is_the_prompt_it_was(name: str) -> None:
    lm = tiny(name)
    made = PLAIN.fit(lm, TASK, toy_prompt())
    torch.testing.assert_close(made.score(lm, TASK.test[:4]), toy_prompt().score(lm, TASK.test[:4]), atol=1e-5, rtol=0)


def test_lists_are_refined_without_any_label(lists: str) -> None:
    lm = tiny("bert", scale=6.0)
    method = Kpt(lists=lists, rare=0.2)
    made = method.fit(lm, replace(TASK, train=()), bare())
    assert made.labels == TASK.labels
    every = {"pets": {"cat", "dog", "mat", "good", "bad"}, "weather": {"rain", "hill", "old", "grey"}}
    assert all(set(some) <= every[label] for label, some in words_of(made).words.items())
    figures = made.history[-1].figures
    assert figures["words"] == 9 > figures["common"] >= figures["relevant"] >= 2
    assert len(made.calibration) == 1
    other = replace(TASK, train=tuple(replace(one, target="pets") for one in TASK.train))
    assert method.fit(lm, other, bare()) == method.fit(lm, TASK, bare())


def test_weights_of_none_are_the_mean_and_a_constant_changes_nothing() -> None:
    lm = tiny("bert", scale=6.0)
    words = Words.of({"a": ["good", "great", "fine"], "b": ["bad"]})
    start = Prompt(template=TEMPLATE, words=Weighed(words=words))
    asked = TASK.test[:4]
    even = start.plus(weigh=weigh(4)).mass(lm, asked)
    torch.testing.assert_close(even, Prompt(template=TEMPLATE, words=words).mass(lm, asked), atol=1e-5, rtol=0)
    torch.testing.assert_close(start.plus(weigh=Weigh(torch.tensor([3.0, 3, 3, -1]))).mass(lm, asked), even)
    learned = Weigh(torch.tensor([1.0, -2, 0, 5]))
    there = start.plus(weigh=learned)
    plain = Prompt(template=TEMPLATE, words=start.words.settled(there.parts))  # type: ignore[union-attr]
    torch.testing.assert_close(plain.score(lm, asked), there.score(lm, asked), atol=1e-5, rtol=0)
    longer = Weighed(words=Words.of({"a": ["good", "great", "fine"], "b": ["bad", "dull", "awful"]}))
    more = longer.settled({"weigh": Weigh(torch.tensor([1.0, -2, 0, 5, 1, 1]))}).weights
    assert more is not None
    assert more["a"] == pytest.approx(plain.words.weights["a"])  # type: ignore[union-attr, index]


def test_the_part_keeps_what_parts_keep() -> None:
    check_part(lambda lm: weigh(3), tiny("bert"))
    words = Weighed(words=Words.of({"a": ["x", "y"], "b": "z"}))
    assert Weighed.build(words.config(), {}) == words


@pytest.mark.parametrize("train", ["words", "all"])
@pytest.mark.parametrize("name", ["bert", "llama"])
def test_trained_weights_end_in_plain_words(name: str, train: str, lists: str) -> None:
    lm, task = tiny(name, scale=6.0), toy(train=64, seed=1)
    method = Kpt(lists=lists, rare=0.0, relevant=False, train=train, steps=60, batch=12, lr=3e-3)  # type: ignore[arg-type]
    made = method.fit(lm, task, bare())
    weights = words_of(made).weights
    assert weights is not None
    assert [sum(some) for some in weights.values()] == pytest.approx([1, 1])
    assert max(weights["pets"]) - min(weights["pets"]) > 0.05
    assert set(made.parts) == ({"weights"} if train == "all" else set())
    assert made.calibration == ()
    told = made.predict(lm, task.test)
    right = sum(one.value == example.target for one, example in zip(told, task.test, strict=True))
    assert train == "words" or right >= 22


def test_chinese_lists(tmp_path: Path) -> None:
    (tmp_path / "lists.txt").write_text("好，很好\n差、太差\n", "utf-8")
    lm = tiny("bert")
    start = prompt("{text}很{mask}。", None, view=TASK.view)
    made = Kpt(lists=str(tmp_path / "lists.txt"), tokens="mean", rare=0.0).fit(lm, TASK, start)
    assert words_of(made).words["pets"][0] == "好"
    assert made.score(lm, ["这本书不好"]).exp().sum() == pytest.approx(1, abs=1e-5)


def test_says_what_is_missing(lists: str) -> None:
    with pytest.raises(NeedsError, match="`kpt` needs label words, and the prompt for `toy` has none"):
        Kpt().fit(tiny("bert"), TASK, bare())
    with pytest.raises(NeedsError) as caught:
        Kpt(lists=lists).fit(tiny("bert"), replace(TASK, train=(), unlabeled=()), bare())
    assert str(caught.value) == (
        "`kpt` needs texts to refine and calibrate by, and `toy` has none\n\n"
        "hint: give unlabeled examples, or set rare=0, relevant=false, calibrate=false"
    )
    with pytest.raises(NeedsError, match="`kpt` needs train examples"):
        Kpt(lists=lists, train="words").fit(tiny("bert"), replace(TASK, train=()), bare())
