"""Calibration by texts without labels, and by their words in disorder."""

from collections import Counter
from dataclasses import replace
from math import log

import pytest
import torch

from promptatlas.data.example import Example
from promptatlas.data.task import Task
from promptatlas.demos.pick import Fixed
from promptatlas.errors import NeedsError, SettingError
from promptatlas.lm.scripted import ScriptedLM
from promptatlas.methods.batch_calibration import BatchCalibration
from promptatlas.methods.domain_calibration import DomainCalibration
from promptatlas.methods.kate import KATE
from promptatlas.methods.prototypical_calibration import PrototypicalCalibration
from promptatlas.prompting import Prompt
from promptatlas.prompting.make import prompt
from promptatlas.search.prior import disordered, mean_prior
from promptatlas.testing.tasks import toy, toy_prompt
from promptatlas.testing.tiny import tiny

LIKELY = {"x": 0.9, "y": 0.5, "z": 0.4}  # how likely `good` is beside `bad`
VOCABULARY = ["x", "y", "z", "It", "was", "good", "bad", "rest"]
PROMPT = prompt("{text} It was {mask}", {"up": "good", "down": "bad"})
METHODS = (BatchCalibration(), DomainCalibration())
REFUSING = (*METHODS, PrototypicalCalibration())


def scripted() -> ScriptedLM:
    def answer(text: str) -> dict[str, float]:
        told = [LIKELY[word] for word in text.split() if word in LIKELY]
        good = sum(told) / len(told)
        return {"good": log(0.1 * good), "bad": log(0.1 - 0.1 * good), "rest": log(0.9)}

    return ScriptedLM(VOCABULARY, answer)


def task(*unlabeled: str, train: tuple[str, ...] = ("z", "z")) -> Task:
    shown = tuple(Example({"text": text}, label, text) for text, label in zip(train, ("up", "down"), strict=False))
    texts = tuple(Example({"text": text}, None, text) for text in unlabeled)
    return Task(name="t", kind="label", fields=("text",), labels=("up", "down"), train=shown, unlabeled=texts)


def probabilities(learned: Prompt, *texts: str) -> list[list[float]]:
    return learned.score(scripted(), [Example({"text": text}) for text in texts]).exp().tolist()


def test_the_mean_over_texts_is_divided_out() -> None:
    learned = BatchCalibration().fit(scripted(), task("x", "y"), PROMPT)
    assert learned.calibration[0].prior == pytest.approx((0.7, 0.3), abs=1e-5)  # type: ignore[attr-defined]
    # .9/.7 and .1/.3 of x; .5/.7 and .5/.3 of y
    assert probabilities(learned, "x", "y")[0] == pytest.approx((0.794118, 0.205882), abs=1e-5)
    assert probabilities(learned, "x", "y")[1] == pytest.approx((0.3, 0.7), abs=1e-5)
    noted = learned.history[-1].figures
    assert (noted["prior up"], noted["texts"]) == (0.7, 2)


def test_probabilities_sum_to_one_before_they_are_averaged() -> None:
    logp = torch.tensor([[0.9, 0.1], [0.5, 0.5]], dtype=torch.float64).log()
    assert mean_prior(logp, ("up", "down")).prior == pytest.approx((0.7, 0.3))
    assert mean_prior(logp, ("up", "down"), 0.0).prior == pytest.approx((0.5, 0.5))
    assert mean_prior(logp, ("up", "down"), 2.0).prior == pytest.approx((0.49 / 0.58, 0.09 / 0.58))


def test_one_text_itself_comes_out_uniform_and_equal_ones_as_one() -> None:
    for some in (("x",), ("x", "x", "x")):
        learned = BatchCalibration().fit(scripted(), task(*some), PROMPT)
        assert probabilities(learned, "x")[0] == pytest.approx((0.5, 0.5), abs=1e-6)


def test_training_texts_stand_in_for_unlabeled_ones() -> None:
    learned = BatchCalibration().fit(scripted(), task(), PROMPT)
    assert learned.calibration[0].prior == pytest.approx((0.4, 0.6), abs=1e-5)  # type: ignore[attr-defined]
    turned = replace(task(), train=tuple(replace(one, target="up") for one in task().train))
    assert BatchCalibration().fit(scripted(), turned, PROMPT) == learned  # their labels aren't looked at


@pytest.mark.parametrize("method", METHODS, ids=lambda one: one.name)
def test_a_demonstration_is_no_text_to_calibrate_by(method: BatchCalibration | DomainCalibration) -> None:
    few = task(train=("y", "x"))
    shown = replace(PROMPT, demos=Fixed(few.train[:1]))
    assert method.fit(scripted(), few, shown).history[-1].figures["texts"] == 1
    with pytest.raises(NeedsError, match="has, but for the demonstrations, none"):
        method.fit(scripted(), few, replace(PROMPT, demos=Fixed(few.train)))


@pytest.mark.parametrize("method", REFUSING, ids=lambda one: one.name)
def test_what_can_not_be_calibrated_by(method: BatchCalibration | DomainCalibration | PrototypicalCalibration) -> None:
    lm = tiny("gpt2")
    with pytest.raises(NeedsError) as caught:
        method.fit(lm, replace(toy(), train=(), unlabeled=()), toy_prompt())
    assert str(caught.value) == (
        f"`{method.name}` needs texts, with labels or without, and `toy` has none\n\n"
        "hint: give unlabeled examples; `contextual_calibration` does without"
    )
    with pytest.raises(NeedsError) as caught:
        method.fit(lm, toy(), KATE(k=2).fit(lm, toy(), toy_prompt()))
    assert str(caught.value) == (
        f"`{method.name}` needs the same demonstrations for all inputs, and this prompt's depend on it\n\n"
        "hint: use fixed ones, or `contextual_calibration` with each=True"
    )


def test_fewer_texts_than_one() -> None:
    with pytest.raises(SettingError, match="0 texts are drawn"):
        BatchCalibration(texts=0).fit(scripted(), task("x"), PROMPT)
    with pytest.raises(SettingError, match="0 texts are made of words"):
        DomainCalibration(draws=0).fit(scripted(), task("x"), PROMPT)


def test_the_seed_draws_the_texts() -> None:
    lm = tiny("gpt2")
    made = [BatchCalibration(texts=3, seed=seed).fit(lm, toy(), toy_prompt()) for seed in (0, 0, 1, 2)]
    assert made[0] == made[1]
    assert len({one.key for one in made}) > 1


def test_words_in_disorder() -> None:
    texts = [
        Example({"a": "x x x y", "b": "one", "n": 3}, key="k"),
        Example({"a": "x x", "b": "two three four", "n": 4}),
    ]
    made = disordered(texts, 400, seed=0)
    assert disordered(texts, 400, seed=0) == made != disordered(texts, 400, seed=1)
    assert {len(str(one.fields["a"]).split()) for one in made} == {3}  # 6 words in 2 texts
    assert {len(str(one.fields["b"]).split()) for one in made} == {2}
    assert {(one.fields["n"], one.target, one.key) for one in made} == {(3, None, "")}
    said = Counter(word for one in made for word in str(one.fields["a"]).split())
    assert said["x"] / said.total() == pytest.approx(5 / 6, abs=0.04)  # as often as they are written


def test_characters_in_disorder() -> None:
    (one,) = disordered([Example({"text": "这部电影很好"})], 1, seed=0)
    assert len(str(one.fields["text"])) == 6
    assert set(str(one.fields["text"])) <= set("这部电影很好")


def test_what_words_alone_favour_is_divided_out() -> None:
    learned = DomainCalibration().fit(scripted(), task("x", "x"), PROMPT)  # every draw is x
    assert learned.calibration[0].prior == pytest.approx((0.9, 0.1), abs=1e-5)  # type: ignore[attr-defined]
    assert probabilities(learned, "x", "z")[0] == pytest.approx((0.5, 0.5), abs=1e-5)


@pytest.mark.parametrize("method", METHODS, ids=lambda one: one.name)
def test_an_old_calibration_is_replaced(method: BatchCalibration | DomainCalibration) -> None:
    once = method.fit(scripted(), task("x", "y"), PROMPT)
    twice = method.fit(scripted(), task("x", "y"), once)
    assert once == twice


def test_a_cluster_of_texts_is_a_label() -> None:
    """`good` is likelier than `bad` in x, as likely in y; there are no other texts, so y is what is `down`."""
    learned = PrototypicalCalibration(restarts=3).fit(scripted(), task(*["x", "y"] * 6), PROMPT)
    answers = learned.predict(scripted(), ["x", "y"])
    assert [one.value for one in answers] == ["up", "down"]
    assert [one.why for one in answers] == ["", ""]
    noted = learned.history[-1].figures
    assert (noted["share up"], noted["share down"], noted["texts"]) == (0.5, 0.5, 12)
