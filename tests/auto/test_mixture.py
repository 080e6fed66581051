"""Candidates that answer together."""

import pytest
import torch

from promptatlas.auto.mixture import ensemble, groups, together
from promptatlas.prompting import Ensemble, Prompt
from promptatlas.prompting.make import prompt
from promptatlas.testing.tasks import WORDS, toy
from promptatlas.testing.tiny import tiny
from promptatlas.train.candidate import answered
from promptatlas.train.choice import Held
from promptatlas.train.select import tempered

TASK = toy(train=8, dev=4, test=4)
TEMPLATES = ("{text} It was {mask}", "A {mask} movie : {text}", "{text} Topic : {mask}")


def held(*prompts: Prompt | Ensemble) -> list[Held]:
    return [answered(one.predict(tiny("bert"), TASK.train), TASK.train) for one in prompts]


def test_groups_are_all_sets_up_to_a_size() -> None:
    assert groups(3, 1) == []
    assert groups(4, 3)[-1] == (1, 2, 3)
    assert len(groups(4, 3)) == 6 + 4


def test_what_they_would_have_done_is_what_their_ensemble_does() -> None:
    prompts = [prompt(text, WORDS) for text in TEMPLATES]
    (real,) = held(ensemble(prompts))
    told = together(held(*prompts))
    assert told.loss == pytest.approx(real.loss, abs=1e-5)
    assert (told.right, told.places) == (real.right, real.places)
    assert torch.allclose(torch.tensor(told.shares), torch.tensor(real.shares), atol=1e-5)


def test_labels_may_stand_in_another_order() -> None:
    one, other = prompt(TEMPLATES[0], WORDS), prompt(TEMPLATES[1], WORDS)
    turned = prompt(TEMPLATES[1], dict(reversed(WORDS.items())))
    assert together(held(one, turned)).loss == pytest.approx(together(held(one, other)).loss, abs=1e-5)


def test_a_member_that_is_an_ensemble_joins_as_a_whole() -> None:
    prompts = [prompt(text, WORDS) for text in TEMPLATES]
    inner = Ensemble(prompts=tuple(prompts[:2]), weights=(3.0, 1.0))
    (real,) = held(ensemble([inner, prompts[2]]))
    assert together(held(inner, prompts[2])).loss == pytest.approx(real.loss, abs=1e-5)


def test_one_alone_is_itself_and_one_that_failed_lets_all_fail() -> None:
    one = prompt(TEMPLATES[0], WORDS)
    assert ensemble([one]) is one
    assert together([Held(failed="no gradient"), Held()]).failed == "no gradient"


def test_an_ensemble_is_tempered_through_its_members() -> None:
    made = ensemble([prompt(text, WORDS) for text in TEMPLATES])
    lm = tiny("bert")
    cooled = tempered(made, 3.0).score(lm, TASK.test)
    assert torch.allclose(cooled, (made.score(lm, TASK.test) / 3).log_softmax(-1), atol=1e-5)
