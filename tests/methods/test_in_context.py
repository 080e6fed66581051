"""Methods that train nothing: demonstrations and calibration."""

import math
from dataclasses import replace

import pytest
import torch

from promptatlas.data.example import Example
from promptatlas.demos.pick import Fixed
from promptatlas.errors import NeedsError, SettingError
from promptatlas.methods.contextual_calibration import ContextualCalibration
from promptatlas.methods.in_context import InContext
from promptatlas.methods.kate import KATE
from promptatlas.prompting import Prompt
from promptatlas.score.words import Words
from promptatlas.testing.tasks import toy, toy_prompt
from promptatlas.testing.tiny import tiny
from promptatlas.text.runs import TextRun
from promptatlas.text.template import Template

TASK = toy()
LM = "gpt2"


def text_of(prompt: Prompt, example: Example) -> str:
    return "".join(run.text for run in prompt.render(tiny(LM), example) if isinstance(run, TextRun))


def test_two_demonstrations_the_query_once_and_last() -> None:
    prompt = InContext(k=2, between="\n").fit(tiny(LM), TASK, toy_prompt())
    query = Example({"text": "that movie"})
    shown = prompt.demos.pick(tiny(LM), [query])[0]
    word = {"pets": "good", "weather": "bad"}
    said = "".join(f"{one.fields['text']} It was {word[str(one.target)]}\n" for one in shown)
    assert len(shown) == 2
    assert {one.target for one in shown} == {"pets", "weather"}
    assert text_of(prompt, query) == said + "that movie It was "


def test_an_instruction_is_said_once() -> None:
    template = Template.parse("Topics.\n{demos}{text} It was {mask}")
    prompt = InContext(k=2, between="\n").fit(tiny(LM), TASK, replace(toy_prompt(), template=template))
    assert text_of(prompt, Example({"text": "that movie"})).count("Topics.") == 1


def test_the_same_draw_for_the_same_seed_and_an_own_one_for_each_input_where_asked() -> None:
    lm, queries = tiny(LM), TASK.test[:6]
    same = [InContext(k=4, seed=3).fit(lm, TASK, toy_prompt()).demos.pick(lm, queries) for _ in range(2)]
    assert same[0] == same[1]
    assert all(one == same[0][0] for one in same[0])
    each = InContext(k=4, seed=3, each=True).fit(lm, TASK, toy_prompt()).demos.pick(lm, queries)
    assert len({tuple(example.key for example in one) for one in each}) > 1


def test_more_demonstrations_than_examples_is_an_error() -> None:
    with pytest.raises(SettingError, match="33 demonstrations of 32 training examples"):
        InContext(k=33).fit(tiny(LM), TASK, toy_prompt())


def test_kate_shows_the_nearest_and_never_the_input_itself() -> None:
    lm = tiny(LM)
    first = KATE(k=3).fit(lm, TASK, toy_prompt())
    last = KATE(k=3, order="nearest_last").fit(lm, TASK, toy_prompt())
    for query in TASK.train[:5]:
        near, reverse = first.demos.pick(lm, [query])[0], last.demos.pick(lm, [query])[0]
        assert near == reverse[::-1]
        assert query not in near
    vectors = lm.embed([str(one.fields["text"]) for one in (TASK.test[0], *TASK.train)])
    best = int((vectors[1:] @ vectors[0]).argmax())
    assert first.demos.pick(lm, [TASK.test[0]])[0][0] == TASK.train[best]


def test_calibration_keeps_the_prior_and_its_entropy() -> None:
    lm = tiny(LM)
    prompt = ContextualCalibration().fit(lm, TASK, InContext(k=2).fit(lm, TASK, toy_prompt()))
    divide = prompt.calibration[0]
    assert divide.nulls(Example({"text": "x"}), prompt.template) == ()
    prior = [float(prompt.history[-1].figures[f"prior {label}"]) for label in prompt.labels]
    assert math.isclose(sum(prior), 1, abs_tol=1e-3)
    blanks = [Example({"text": blank}) for blank in ContextualCalibration().blanks]
    mass = replace(prompt, calibration=()).mass(lm, blanks).exp().mean(0)  # averaged before they are normalised
    torch.testing.assert_close(torch.tensor(prior), (mass / mass.sum()).float(), atol=1e-3, rtol=0)


def test_one_blank_itself_comes_out_uniform() -> None:
    lm = tiny(LM)
    prompt = ContextualCalibration(blanks=("N/A",)).fit(lm, TASK, toy_prompt())
    torch.testing.assert_close(prompt.score(lm, [Example({"text": "N/A"})]).exp(), torch.full((1, 2), 0.5))


def test_permuting_the_labels_permutes_the_scores() -> None:
    lm = tiny(LM)
    turned = replace(toy_prompt(), words=Words(words=dict(reversed(list(toy_prompt().words.words.items())))))  # type: ignore[attr-defined]
    one = ContextualCalibration().fit(lm, TASK, toy_prompt()).score(lm, TASK.test)
    other = ContextualCalibration().fit(lm, TASK, turned).score(lm, TASK.test)
    torch.testing.assert_close(one, other.flip(1))


def test_a_label_s_words_are_summed_before_they_are_calibrated() -> None:
    lm, words = tiny(LM), Words.of({"pets": ["good", "great"], "weather": "bad"})
    prompt = ContextualCalibration().fit(lm, TASK, replace(toy_prompt(), words=words))
    both = replace(toy_prompt(), words=Words.of({"a": "good", "b": "great"})).mass(lm, TASK.test).exp().sum(-1)
    torch.testing.assert_close(replace(prompt, calibration=()).mass(lm, TASK.test)[:, 0].exp(), both)


def test_demonstrations_are_joined_as_the_prompt_says() -> None:
    prompt = InContext(k=2).fit(tiny(LM), TASK, replace(toy_prompt(), between=Template.parse(" # ")))
    assert text_of(prompt, Example({"text": "that movie"})).count(" # ") == 2


def test_scores_that_only_rank_say_so() -> None:
    lm = tiny(LM)
    identity = ContextualCalibration(mode="identity").fit(lm, TASK, toy_prompt())
    assert "only rank" in identity.predict(lm, ["cat"])[0].why
    assert ContextualCalibration().fit(lm, TASK, toy_prompt()).predict(lm, ["cat"])[0].why == ""


def test_calibration_refuses_demonstrations_that_depend_on_the_input() -> None:
    lm = tiny(LM)
    kate = KATE(k=2).fit(lm, TASK, toy_prompt())
    with pytest.raises(NeedsError) as caught:
        ContextualCalibration().fit(lm, TASK, kate)
    assert str(caught.value) == (
        "`contextual_calibration` needs the same demonstrations for all inputs, and this prompt's depend on it\n\n"
        "hint: calibrate under each input's own with each=True (a row a blank more each), or use fixed ones"
    )
    each = ContextualCalibration(blanks=("N/A",), each=True).fit(lm, TASK, kate)
    query = TASK.test[0]
    shown = kate.demos.pick(lm, [query])[0]
    fixed = replace(kate, demos=Fixed(tuple(shown)))
    by_hand = ContextualCalibration(blanks=("N/A",)).fit(lm, TASK, fixed)
    torch.testing.assert_close(each.score(lm, TASK.test[:4])[:1], by_hand.score(lm, [query]), atol=1e-5, rtol=1e-5)


def test_demonstrations_drop_an_old_calibration() -> None:
    lm = tiny(LM)
    calibrated = ContextualCalibration().fit(lm, TASK, toy_prompt())
    assert calibrated.calibration
    assert InContext(k=2).fit(lm, TASK, calibrated).calibration == ()
