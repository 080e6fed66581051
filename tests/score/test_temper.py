"""A temperature of label probabilities."""

import math
from pathlib import Path

import pytest
import torch

from promptatlas.artifact.load import load
from promptatlas.artifact.save import save
from promptatlas.errors import SettingError
from promptatlas.methods.fine_tuning import FineTuning
from promptatlas.score.temper import Temper, suiting
from promptatlas.testing.tasks import toy, toy_prompt
from promptatlas.testing.tiny import tiny
from promptatlas.train.select import tempered


def test_two_to_one_is_the_square_root_of_four_to_one() -> None:
    made = Temper(temperature=2.0).apply(torch.tensor([[0.8, 0.2]]).log() + 5, None).exp()
    assert made.tolist() == [pytest.approx([2 / 3, 1 / 3])]


def test_the_suiting_temperature_makes_shares_true() -> None:
    """Said .99, and right in 3 of 4: at the temperature .75 is said."""
    logp = torch.tensor([[0.99, 0.01]] * 4).log()
    found = suiting(logp, [0, 0, 0, 1])
    assert found == pytest.approx(math.log(99) / math.log(3), rel=0.05)


def test_what_is_never_wrong_stays_as_it_is() -> None:
    assert suiting(torch.tensor([[0.6, 0.4]]).log(), [0]) == 1
    assert suiting(torch.zeros(0, 2), []) == 1


@pytest.mark.parametrize("value", [0.0, -1.0, math.inf, math.nan])
def test_what_is_no_temperature_is_refused(value: float) -> None:
    with pytest.raises(SettingError, match="a temperature of"):
        Temper(temperature=value)


@pytest.mark.parametrize("kind", ["bert", "llama", "t5"])
def test_a_head_and_words_are_tempered_and_saved(kind: str, tmp_path: Path) -> None:
    lm, task = tiny(kind), toy(train=4, dev=0, test=4)
    for one in (toy_prompt(), FineTuning(steps=1).fit(lm, task, toy_prompt())):
        made = tempered(one, 2.5)
        expected = (one.score(lm, task.test) / 2.5).log_softmax(-1)
        assert torch.allclose(made.score(lm, task.test), expected, atol=1e-5)
        save(made, tmp_path / "prompt")
        again = load(tmp_path / "prompt")
        assert again == made
        assert [one.value for one in again.predict(lm, task.test)] == [one.value for one in one.predict(lm, task.test)]
