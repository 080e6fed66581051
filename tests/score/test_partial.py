"""Partial evaluation: choices stand in the text, and its common ending is what is scored (Brown et al. 2020)."""

import pytest

from promptatlas.data.example import Example
from promptatlas.data.view import Choices
from promptatlas.lm.scripted import ScriptedLM
from promptatlas.prompting import Prompt
from promptatlas.score.own import Own
from promptatlas.testing.tiny import tiny
from promptatlas.text.template import Template

ASKED = Prompt(template=Template.parse("{before} {choice!} {mask}"), words=Own(field="after"), view=Choices())
CUP = Example({"before": "the cup hit", "choices": ("glass", "rubber"), "after": "broke"})
WORDS = ["the", "cup", "hit", "glass", "rubber", "broke", "held"]


def answer(heard: dict[str, float]) -> dict[str, float]:
    lm = ScriptedLM(WORDS, lambda text: {word: heard.get(text.split()[-1], 0.0) * (word == "broke") for word in WORDS},
                    kind="causal")  # fmt: skip
    return dict(ASKED.predict(lm, CUP)[0].probabilities)


def test_where_the_ending_fits_nothing_better_all_are_alike() -> None:
    assert answer({}) == pytest.approx({"glass": 0.5, "rubber": 0.5})


def test_the_choice_that_makes_the_ending_likely_is_the_answer() -> None:
    found = answer({"glass": 2.0})
    assert found["glass"] > 0.7
    assert sum(found.values()) == pytest.approx(1.0)


@pytest.mark.parametrize("family", ["gpt2", "llama", "t5", "bert"])
def test_every_kind_of_model(family: str) -> None:
    asked = Example({"before": "the old", "choices": ("cat", "hill"), "after": "sat on the mat"})
    (found,) = ASKED.predict(tiny(family), asked)
    assert set(found.probabilities) == {"cat", "hill"}
