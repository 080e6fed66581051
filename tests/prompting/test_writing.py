"""Prompts whose answers are texts they write."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from promptatlas.artifact.load import load
from promptatlas.artifact.save import save
from promptatlas.data.example import Example
from promptatlas.data.task import Task
from promptatlas.data.view import Answer, One
from promptatlas.errors import DataError, ModelError, SettingError
from promptatlas.lm.ask import Decode
from promptatlas.lm.lm import LM
from promptatlas.parts.prefix import normal
from promptatlas.parts.vectors import Vectors, vocabulary
from promptatlas.parts.weights import LoRA, lora
from promptatlas.prompting import Ensemble, Prompt
from promptatlas.prompting.make import check_fit, prompt, template_of
from promptatlas.prompting.writing import GREEDY, voted
from promptatlas.testing.tasks import toy, toy_prompt
from promptatlas.testing.tiny import tiny

PROMPT = prompt("{text} =>{mask}", view=One())
# of very different lengths, so that a batch of them is mostly padding
TEXTS = ("cat", "the old grey cat sat on the mat over the hill", "", "rain fell", "a dog")
WRITING = ("gpt2", "llama", "qwen2", "t5", "bart")
SHORT = Decode(max_new=6)


def soft(lm: LM) -> Prompt:
    return PROMPT.lead(soft=vocabulary(lm, 3, seed=2))


def prefixed(lm: LM) -> Prompt:
    told = lm.kind == "causal"
    return PROMPT.plus(prefix=normal(lm, 4, seed=1, scale=2.0, positions="shifted" if told else "unshifted"))


def lowered(lm: LM) -> Prompt:
    part = lora(lm, rank=2, seed=0)
    up = [torch.randn(one.shape, generator=torch.Generator().manual_seed(at)) for at, one in enumerate(part.up)]
    return PROMPT.plus(lora=LoRA(part.where, 1.0, part.down, up))


@pytest.mark.parametrize("family", WRITING)
def test_an_answer_is_the_text_that_is_written_and_its_probability(family: str) -> None:
    lm = tiny(family, scale=6.0)
    answers = PROMPT.predict(lm, TEXTS, how=SHORT)
    texts = [one for (one,) in PROMPT.generate(lm, TEXTS, SHORT)]
    assert [one.value for one in answers] == [one.text.strip() for one in texts]
    assert [one.confidence for one in answers] == pytest.approx([math.exp(one.logp) for one in texts])
    assert all(0 < one.confidence <= 1 and not one.probabilities for one in answers)
    assert len({one.value for one in answers}) > 1


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("made", [soft, prefixed, lowered])
@pytest.mark.parametrize("family", WRITING)
def test_no_answer_notices_its_company(family: str, made: Callable[[LM], Prompt], beams: int) -> None:
    lm = tiny(family, scale=6.0)
    asked, how = made(lm), Decode(max_new=6, beams=beams)
    together = asked.predict(lm, TEXTS, how=how)
    alone = [asked.predict(lm, [text], how=how)[0] for text in TEXTS]
    turned = asked.predict(lm, TEXTS[::-1], how=how)[::-1]
    for one in (alone, turned):
        assert [answer.value for answer in one] == [answer.value for answer in together]
        told = [answer.confidence for answer in together]
        assert [answer.confidence for answer in one] == pytest.approx(told, rel=1e-3)


def test_writing_is_greedy_where_nothing_is_said() -> None:
    lm = tiny("gpt2", scale=6.0)
    assert Decode(max_new=100) == GREEDY
    assert [one.value for one in PROMPT.predict(lm, "cat")] == [PROMPT.generate(lm, "cat", GREEDY)[0][0].text.strip()]


def test_a_saved_prompt_that_writes_still_does(tmp_path: Path) -> None:
    lm = tiny("llama", scale=6.0)
    made = soft(lm)
    kept = load(save(made, tmp_path / "kept"))
    assert kept.writes
    assert kept.labels == ()
    assert kept.predict(lm, TEXTS, how=SHORT) == made.predict(lm, TEXTS, how=SHORT)


def test_the_vote_of_five_texts() -> None:
    """Sheet 27: yes, no, yes, maybe, no: a tie, and the first to appear wins."""
    said = [Answer(text, 0.5) for text in ("yes", "no", "yes", "maybe", "no")]
    assert voted(said, [1.0] * 5) == Answer("yes", 0.4)
    assert voted(said, [1.0, 3.0, 1.0, 1.0, 0.0]) == Answer("no", 0.5)


def test_prompts_that_write_vote() -> None:
    lm = tiny("gpt2", scale=6.0)
    one, other = PROMPT, PROMPT.lead(soft=Vectors(vocabulary(lm, 3, seed=1).weight.detach() * 4))
    alone = one.predict(lm, TEXTS, how=SHORT)
    assert [two.value for two in other.predict(lm, TEXTS, how=SHORT)] != [two.value for two in alone]
    many = Ensemble(prompts=(other, one, one), vote=True)
    found = many.predict(lm, TEXTS, how=SHORT)
    assert [two.value for two in found] == [two.value for two in alone]
    assert found[0].confidence == pytest.approx(2 / 3)
    with pytest.raises(SettingError) as caught:
        Ensemble(prompts=(one, other)).predict(lm, TEXTS)
    assert str(caught.value) == ("prompts that write answer together by voting alone\n\nhint: Ensemble(..., vote=True)")


def test_how_is_of_prompts_that_write() -> None:
    labels = toy_prompt()
    for one in (labels, prompt("{text} {mask}"), Ensemble(prompts=(labels, labels))):
        with pytest.raises(SettingError) as caught:
            one.predict(tiny("gpt2"), TEXTS, how=SHORT)
        assert str(caught.value) == (
            "`how` says how texts are written, and this prompt answers with labels or choices\n\nhint: leave it out"
        )
    with pytest.raises(SettingError, match="only label words have a mass to abstain by, and this prompt has none"):
        PROMPT.predict(tiny("gpt2"), TEXTS, abstain=0.5)
    with pytest.raises(ModelError) as refused:
        PROMPT.predict(tiny("bert"), TEXTS)
    assert str(refused.value) == (
        "a masked model can't write on: tiny-bert\n\nhint: use a causal or seq2seq model, or read its slot with `ask`"
    )


def texts(*fields: dict[str, object], template: str | None = None) -> Task:
    train = tuple(Example(one, "a cup of tea", f"train:{at}") for at, one in enumerate(fields))
    return Task(name="cups", kind="text", fields=tuple(fields[0]), train=train, template=template)


@pytest.mark.parametrize(
    ("task", "template"),
    [
        (texts({"text": "tea"}), "{text} {mask}"),
        (texts({"text": "tea", "question": "what is it"}), "{text} {question} {mask}"),
        (texts({"mr": "name[Cup], food[tea]", "slots": [["name", "Cup"], ["food", "tea"]]}), "{mr} {mask}"),
        (
            texts({"kind": "cups", "triples": [["Cup", "holds", "tea"], ["Cup", "costs", 2]]}),
            "{kind} {triples|json} {mask}",
        ),
        (texts({"about": {"name": "Cup", "holds": ["tea"]}}), "{about|json} {mask}"),
        (texts({"text": "tea", "hint": None}), "{text} {mask}"),
        (texts({"text": "tea"}, template="Say {text}:{mask}"), "Say {text}:{mask}"),
        (toy(), str(toy_prompt().template)),
        (replace(toy(), template=None), None),
    ],
)
def test_a_text_task_s_first_template(task: Task, template: str | None) -> None:
    assert template_of(task) == template
    if task.kind == "text":
        check_fit(prompt(template, view=task.view), task)


def refused(made: Prompt, task: Task) -> str:
    with pytest.raises(DataError) as caught:
        check_fit(made, task)
    return str(caught.value)


def test_a_prompt_that_writes_fits_texts_alone() -> None:
    task = texts({"text": "tea"})
    wanted = "`cups` is of kind text, its answers are written, and the prompt has "
    hint = "\n\nhint: fit one for it: promptatlas fit prefix_tuning --lm pocket-causal"
    assert refused(toy_prompt(), task) == f"{wanted}words for labels{hint}"
    assert refused(prompt("{text} {mask}"), task) == f"{wanted}a choice as its answer{hint}"
    assert refused(PROMPT, toy()) == (
        "`toy` is of kind label, and the prompt's answers are texts it writes\n\nhint: give each label its words"
    )
    choices = Task(name="cups", kind="choice", fields=("text", "choices"))
    assert refused(PROMPT, choices) == (
        "`cups` is of kind choice, and the prompt's answers are texts it writes\n\n"
        "hint: fit one for it, or make it with view=task.view"
    )
