"""An answer explained."""

import math
from dataclasses import replace

import pytest

from promptatlas.data.example import Example
from promptatlas.data.view import Choices
from promptatlas.demos.nearest import Nearest
from promptatlas.demos.pick import Fixed
from promptatlas.errors import SettingError
from promptatlas.lm.scripted import ScriptedLM
from promptatlas.methods.prompt_tuning import PromptTuning
from promptatlas.prompting import Prompt
from promptatlas.prompting.explain import explain
from promptatlas.prompting.make import prompt
from promptatlas.score.calibrate import Divide
from promptatlas.score.own import Own
from promptatlas.testing.tasks import toy, toy_prompt
from promptatlas.testing.tiny import tiny
from promptatlas.text.template import Template

TASK = toy()
SHOWN = tuple(TASK.train[:3])


def heard(text: str) -> dict[str, float]:
    """Every `good` before the slot makes `good` likelier by a nat; `N/A` is answered `bad`."""
    return {"good": float(text.split().count("good")), "bad": 2.0 if "N/A" in text else 0.0}


SCRIPTED = ScriptedLM(["good", "bad", "cat", "rain", "N/A", "is"], heard, kind="causal")
ASKED = prompt("{text} is {mask}", {"pets": "good", "weather": "bad"})


def shown(*targets: str) -> Fixed:
    return Fixed(tuple(Example({"text": f"cat {at}"}, target) for at, target in enumerate(targets)))


def test_what_each_demonstration_adds() -> None:
    found = explain(replace(ASKED, demos=shown("pets", "weather", "pets")), SCRIPTED, "rain")
    assert found.answer.value == "pets"
    sure = [math.log(1 / (1 + math.exp(-goods))) for goods in range(3)]
    assert [one.gain for one in found.effects] == pytest.approx([sure[2] - sure[1], 0.0, sure[2] - sure[1]], abs=1e-5)
    assert [one.demo.fields["text"] for one in found.effects] == ["cat 0", "cat 1", "cat 2"]


def test_what_is_answered_without_one_is_told() -> None:
    lm = ScriptedLM(SCRIPTED.words[:-3], lambda text: {**heard(text), "bad": 0.5}, kind="causal")
    found = explain(replace(ASKED, demos=shown("pets")), lm, "rain")
    assert (found.answer.value, found.effects[0].without.value) == ("pets", "weather")


def test_the_bias_is_that_of_inputs_without_content() -> None:
    one = replace(ASKED, demos=shown("pets"))
    found = explain(one, SCRIPTED, "rain")
    assert found.blanks["N/A"].probabilities["weather"] == pytest.approx(1 / (1 + math.exp(-1)), abs=1e-5)
    assert found.blanks[""].probabilities["pets"] == pytest.approx(1 / (1 + math.exp(-1)), abs=1e-5)
    assert found.bare == {}
    calibrated = explain(
        replace(one, calibration=(Divide(labels=("pets", "weather"), prior=(0.9, 0.1)),)), SCRIPTED, "rain"
    )
    assert calibrated.bare == found.blanks
    assert calibrated.blanks["N/A"].probabilities["weather"] > found.blanks["N/A"].probabilities["weather"]


@pytest.mark.parametrize("family", ["bert", "gpt2", "t5"])
def test_the_row_is_what_the_model_reads(family: str) -> None:
    lm, one = tiny(family), replace(toy_prompt(), demos=Fixed(SHOWN))
    (row,) = explain(one, lm, TASK.test[0], top=3).rows
    (encoded,) = one.reader(lm).encode(one.lines(lm, [TASK.test[0]])[0])
    assert [piece for part in row.stretches for piece in part.pieces] == lm.pieces(encoded.ids)
    assert {part.demo for part in row.stretches} == {None, 0, 1, 2}
    assert row.left_out == 0
    (words,) = row.top.values()
    assert [len(words), *sorted((word.probability for word in words), reverse=True)] == [
        3,
        *(w.probability for w in words),
    ]


def test_what_has_no_room_is_told() -> None:
    lm = tiny("gpt2")
    long = Example({"text": "the old town sat on the mat " * (lm.window // 5)})
    (row,) = explain(replace(toy_prompt(), demos=Fixed(SHOWN)), lm, long).rows
    assert row.left_out == 3
    assert sum(part.cut for part in row.stretches) > 0


def test_a_soft_part_has_its_name() -> None:
    lm = tiny("bert")
    tuned = PromptTuning(length=3, steps=1, batch=2).fit(lm, TASK, toy_prompt())
    (row,) = explain(tuned, lm, TASK.test[0]).rows
    assert ("part", ("soft",) * 3) in [(part.kind, part.pieces) for part in row.stretches]


def test_choices_have_a_row_each() -> None:
    lm = tiny("gpt2")
    one = Prompt(template=Template.parse("{text} It was {mask}"), words=Own(), view=Choices())
    asked = Example({"text": "the old town", "choices": ("good", "bad", "fine")})
    found = explain(replace(one, demos=Fixed((Example({"text": "a cat", "choice": "good"}, "good"),))), lm, asked)
    assert len(found.rows) == 3
    assert set(found.blanks["N/A"].probabilities) == {"good", "bad", "fine"}
    assert len(found.effects) == 1


def test_a_text_that_is_written_has_no_gain() -> None:
    lm = tiny("gpt2")
    one = Prompt(template=Template.parse("{text} {mask}"), words=Own(), demos=Fixed((Example({"text": "a"}, "cat"),)))
    found = explain(one, lm, "the old")
    assert math.isnan(found.effects[0].gain)
    assert found.blanks == {}


def test_demonstrations_of_this_input_stay() -> None:
    lm = tiny("bert")
    one = replace(toy_prompt(), demos=Nearest.over(lm, TASK.train, k=2))
    found = explain(one, lm, TASK.test[0])
    assert [effect.demo for effect in found.effects] == one.demos.pick(lm, [TASK.test[0]])[0]


def test_one_at_a_time() -> None:
    with pytest.raises(SettingError, match="2 examples are to be explained"):
        explain(toy_prompt(), tiny("bert"), ["a", "b"])
