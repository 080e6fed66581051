"""PETAL from end to end: the sheet's checks."""

from dataclasses import replace

import pytest

from promptatlas.data.example import Example
from promptatlas.data.task import Task
from promptatlas.errors import DataError, NeedsError, TemplateError
from promptatlas.lm.scripted import ScriptedLM
from promptatlas.methods.pattern_tuning import PatternTuning
from promptatlas.methods.petal import Petal
from promptatlas.prompting import Ensemble, Prompt
from promptatlas.prompting.make import prompt
from promptatlas.score.words import Words
from promptatlas.testing.same import fingerprint
from promptatlas.testing.tasks import toy, toy_prompt
from promptatlas.testing.tiny import tiny

TASK = toy()
VOCABULARY = ["the", "common", "planted", "sunny", "other", "x", "y", "It", "was"]


def answers(text: str) -> dict[str, float]:
    """`planted` is rare, but a little likelier where the text has x; `sunny` where it has y."""
    here = {"planted": 1.0} if "x" in text.split() else {"sunny": 0.5}
    return {"the": 8.0, "common": 6.0, "planted": -4.0, "sunny": -1.0, "other": 0.0, **here}


def planted(examples: int = 6, **settings: object) -> Task:
    train = tuple(
        Example({"text": "x" if at % 3 == 0 else "y"}, "rare" if at % 3 == 0 else "rest") for at in range(examples)
    )
    return Task(name="planted", kind="label", fields=("text",), labels=("rare", "rest"), train=train, **settings)  # type: ignore[arg-type]


def bare(template: str = "{text} It was {mask}") -> Prompt:
    return prompt(template, None, view=TASK.view)


def words_of(found: object) -> dict[str, tuple[str, ...]]:
    assert isinstance(found, Prompt)
    assert isinstance(found.words, Words)
    return dict(found.words.words)


@pytest.mark.parametrize("kind", ["masked", "causal", "seq2seq"])
@pytest.mark.parametrize("score", ["llr", "ce"])
def test_the_planted_word_is_found_whatever_its_base_rate(kind: str, score: str) -> None:
    lm = ScriptedLM(VOCABULARY, answers, kind=kind)  # type: ignore[arg-type]
    found = words_of(Petal(words=1, score=score).fit(lm, planted(), bare()))  # type: ignore[arg-type]
    if score == "llr":
        assert found == {"rare": ("planted",), "rest": ("sunny",)}
    else:
        assert set(found.values()) == {("the",), ("common",)}


@pytest.mark.parametrize("name", ["bert", "llama", "t5"])
def test_order_and_company_do_not_matter_and_no_weight_moves(name: str) -> None:
    lm = tiny(name, scale=6.0)
    before = fingerprint(lm)
    found = words_of(Petal(words=3).fit(lm, TASK, toy_prompt()))
    turned = replace(TASK, train=TASK.train[::-1])
    assert words_of(Petal(words=3).fit(lm, turned, toy_prompt())) == found
    assert fingerprint(lm) == before
    assert [len(some) for some in found.values()] == [3, 3]


def test_the_words_of_a_prompt_and_none_are_the_same_start() -> None:
    lm = tiny("bert", scale=6.0)
    one, other = (Petal(words=2).fit(lm, TASK, start) for start in (toy_prompt(), bare()))
    assert one == other


def test_patterns_share_words_or_have_their_own() -> None:
    lm = tiny("bert", scale=6.0)
    twice = Petal(words=3, patterns=(str(toy_prompt().template),)).fit(lm, TASK, toy_prompt())
    assert words_of(twice) == words_of(Petal(words=3).fit(lm, TASK, toy_prompt()))
    apart = Petal(words=3, patterns=("Just {mask} ! {text}",), joint=False).fit(lm, TASK, toy_prompt())
    assert isinstance(apart, Ensemble)
    own = [words_of(one) for one in apart.prompts]
    assert own[0] == words_of(twice)
    assert own[1] == words_of(Petal(words=3).fit(lm, TASK, bare("Just {mask} ! {text}")))
    assert Petal(joint=False, words=3).fit(lm, TASK, toy_prompt()) == apart.prompts[0]


def test_words_by_chance_depend_on_the_seed_alone() -> None:
    lm = tiny("bert")
    found = [words_of(Petal(score="random", words=3, seed=seed).fit(lm, TASK, bare())) for seed in (1, 1, 2)]
    assert found[0] == found[1] != found[2]


def test_history_says_why_and_some_words_may_be_barred() -> None:
    lm = ScriptedLM(VOCABULARY, answers)
    figures = Petal(words=1).fit(lm, planted(), bare()).history[-1].figures
    assert str(figures["words rare"]).startswith("planted ")
    assert figures["candidates"] == 7  # x and y are single letters
    assert words_of(Petal(words=1, without=("Planted",)).fit(lm, planted(), bare()))["rare"] != ("planted",)


def test_what_comes_out_is_trained_on_by_other_methods() -> None:
    lm, task = tiny("bert"), toy(train=64, seed=1)
    found = Petal(words=3).fit(lm, task, bare())
    assert isinstance(found, Prompt)
    tuned = PatternTuning(steps=60, batch=12, lr=3e-3).fit(lm, task, found)
    assert tuned.words == found.words
    told = tuned.predict(lm, task.test)
    assert sum(one.value == example.target for one, example in zip(told, task.test, strict=True)) >= 29


def test_says_what_is_wrong() -> None:
    lm = ScriptedLM(VOCABULARY, answers)
    alone = replace(planted(), train=tuple(one for one in planted().train if one.target == "rest"))
    with pytest.raises(DataError, match="label `rare` has no example"):
        Petal().fit(lm, alone, bare())
    with pytest.raises(TemplateError, match="has no field `body`"):
        Petal(patterns=("{body} {mask}",)).fit(lm, planted(), bare())
    with pytest.raises(NeedsError) as caught:
        PatternTuning().fit(tiny("bert"), TASK, bare())
    assert str(caught.value) == (
        "`pattern_tuning` needs label words, and the prompt for `toy` has none\n\n"
        "hint: give each label its words, or let `petal` find some"
    )
