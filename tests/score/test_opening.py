"""What a text begins with, calibrated."""

from dataclasses import replace

import pytest
import torch

from promptatlas.data.example import Example
from promptatlas.data.task import Task
from promptatlas.demos.nearest import Nearest
from promptatlas.errors import NeedsError, SettingError
from promptatlas.lm.ask import Decode
from promptatlas.lm.scripted import ScriptedLM
from promptatlas.methods.contextual_calibration import ContextualCalibration
from promptatlas.prompting import Prompt
from promptatlas.score.opening import Opening
from promptatlas.score.own import Own
from promptatlas.testing.tiny import tiny
from promptatlas.text.template import Template

KNOWN = (Example({"text": "paris"}, "france"),)
TASK = Task(name="towns", kind="text", fields=("text",), labels=(), train=KNOWN, dev=(), test=(), unlabeled=())
ASKED = Prompt(template=Template.parse("{text} is in {mask}"), words=Own())
WORDS = ["the", "france", "paris", "rome", "italy", "is", "in", "north", "N/A"]


def opening(prior: list[float], top: int = 100) -> Opening:
    return Opening(ids=torch.arange(len(prior)), prior=torch.tensor(prior), top=top)


def test_the_first_token_gains_most() -> None:
    logp = torch.tensor([[0.02, 0.62, 0.36]]).log()
    assert opening([0.01, 0.59, 0.40]).first(logp).tolist() == [1]
    assert opening([0.1, 0.8, 0.1]).first(logp).tolist() == [2]


def test_only_the_likeliest_are_compared_brought_to_one() -> None:
    logp = torch.tensor([[0.4, 0.4, 0.2]]).log()
    assert opening([0.5, 0.5, 0.0]).first(logp).tolist() == [2]
    assert opening([0.5, 0.5, 0.0], top=1).first(logp).tolist() == [0]
    assert opening([0.6, 0.3, 0.1], top=2).first(logp).tolist() == [1]


def test_the_prior_is_the_least_over_blanks() -> None:
    found = Opening.fitted(torch.tensor([[0.5, 0.3, 0.2, 0.0], [0.1, 0.5, 0.4, 0.0]]).log())
    assert found.ids.tolist() == [0, 1, 2]
    assert found.prior.tolist() == pytest.approx([0.1, 0.3, 0.2])


def heard(text: str) -> dict[str, float]:
    """Begins every answer with `the`, but for what it knows; then says it."""
    last = text.split()[-1]
    if last == "in":
        return {"the": 2.0, "france": 1.5 if "paris" in text else 0.0, "italy": 1.5 if "rome" in text else 0.0}
    return {"north": 1.0} if last == "the" else {".": 1.0, "the": 0.0}


@pytest.fixture
def lm() -> ScriptedLM:
    return ScriptedLM([*WORDS, "."], heard, kind="causal")


def test_a_text_begins_with_what_the_input_adds(lm: ScriptedLM) -> None:
    how = Decode(max_new=2)
    calibrated = ContextualCalibration().fit(lm, TASK, ASKED)
    assert [one.value for one in ASKED.predict(lm, ["paris", "rome"], how=how)] == ["the north", "the north"]
    assert [one.value for one in calibrated.predict(lm, ["paris", "rome"], how=how)] == ["france .", "italy ."]
    assert calibrated.history[-1].figures["likeliest"] == "the"
    assert [one.value for one in calibrated.predict(lm, ["paris"], how=replace(how, max_new=1))] == ["france"]
    assert [one.value for one in calibrated.predict(lm, ["paris"], how=replace(how, stop=(".",)))] == ["france"]


@pytest.mark.parametrize("family", ["gpt2", "t5", "bart"])
def test_a_prior_of_nothing_changes_nothing(family: str) -> None:
    lm, how = tiny(family), Decode(max_new=4)
    none = Opening(ids=torch.zeros(0, dtype=torch.long), prior=torch.zeros(0))
    texts = ["the old town", "a cat"]
    plain, calibrated = (one.generate(lm, texts, how) for one in (ASKED, replace(ASKED, calibration=(none,))))
    for (one,), (other,) in zip(plain, calibrated, strict=True):
        assert other.text == one.text
        assert other.logp == pytest.approx(one.logp, abs=1e-3)


def test_what_it_does_not_take(lm: ScriptedLM) -> None:
    with pytest.raises(SettingError, match="0 tokens are compared"):
        opening([0.5], top=0)
    near = replace(ASKED, demos=Nearest.over(tiny("gpt2"), TASK.train, k=1))
    with pytest.raises(NeedsError, match="its demonstrations depend on the input"):
        ContextualCalibration().fit(tiny("gpt2"), TASK, near)
