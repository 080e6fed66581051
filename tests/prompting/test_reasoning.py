"""Prompts that reason: chains that are written, drawn, asked for their answer and voted on."""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from promptatlas.artifact.load import load
from promptatlas.artifact.save import save
from promptatlas.data.example import Example
from promptatlas.data.metric import measure
from promptatlas.data.view import One
from promptatlas.demos.pick import Fixed
from promptatlas.errors import SettingError
from promptatlas.lm.ask import Decode
from promptatlas.lm.lm import LM
from promptatlas.lm.scripted import ScriptedLM
from promptatlas.prompting import Ensemble, Prompt
from promptatlas.prompting.make import prompt
from promptatlas.prompting.writing import ROUND
from promptatlas.score.chains import Chains
from promptatlas.testing.tiny import tiny
from promptatlas.text.pattern import Pattern

FAMILIES = ("gpt2", "llama", "t5", "bart")
TEXTS = ("cat", "the old grey cat sat on the mat over the hill", "rain fell", "a dog")
WORD = Pattern.of("text", r"\w+", alone=True)
DRAWN = Decode(max_new=5, temperature=1.0, n=5, seed=3)


def reasoning(how: Decode = DRAWN, **more: object) -> Prompt:
    return prompt("{text} =>{mask}", view=Chains(**{"how": how, "said": WORD, **more}))


@pytest.mark.parametrize("family", FAMILIES)
def test_one_chain_at_temperature_nought_is_the_greedy_text(family: str) -> None:
    """Sheet 48, oracle 7."""
    lm, how = tiny(family, scale=6.0), Decode(max_new=5)
    plain = prompt("{text} =>{mask}", view=One()).predict(lm, TEXTS, how=how)
    chains = reasoning(how).predict(lm, TEXTS)
    assert [one.texts for one in chains] == [(one.value,) for one in plain]
    assert [one.value for one in chains] == [WORD.read(str(one.value)) for one in plain]
    told = [one.confidence if answer.value is not None else 0.0 for one, answer in zip(plain, chains, strict=True)]
    assert [one.confidence for one in chains] == pytest.approx(told)


@pytest.mark.parametrize("then", ["", "so it is"])
@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_drawn_hangs_on_the_seed_and_the_text_alone(family: str, then: str) -> None:
    lm, one = tiny(family, scale=6.0), reasoning(then=then, short=3)
    together = one.predict(lm, TEXTS)
    assert [answer.texts for text in TEXTS for answer in one.predict(lm, text)] == [a.texts for a in together]
    keyed = [Example({"text": text}, None, f"test:{at}") for at, text in enumerate(TEXTS)]
    assert [answer.texts for answer in one.predict(lm, keyed[::-1])][::-1] == [a.texts for a in together]
    assert all(len(answer.texts) == 5 for answer in together)
    other = reasoning(replace(DRAWN, seed=4), then=then, short=3).predict(lm, TEXTS)
    assert [answer.texts for answer in other] != [answer.texts for answer in together]


def test_chains_are_drawn_anew_in_every_round() -> None:
    (answer,) = reasoning(replace(DRAWN, n=ROUND + 4)).predict(tiny("gpt2", scale=3.0), "cat")
    assert len(answer.texts) == ROUND + 4
    assert answer.texts[:4] != answer.texts[ROUND:]


@pytest.mark.parametrize("then", ["", "so it is"])
def test_a_saved_prompt_reasons_as_before(tmp_path: Path, then: str) -> None:
    lm, made = tiny("gpt2", scale=6.0), reasoning(then=then, short=3, vote="normalised")
    kept = load(save(made, tmp_path / "kept"))
    assert kept == made
    assert kept.writes
    assert kept.predict(lm, TEXTS) == made.predict(lm, TEXTS)
    assert kept != reasoning(then=then, short=3)


def test_how_chains_are_written_may_be_said_anew() -> None:
    lm, made = tiny("gpt2", scale=6.0), reasoning()
    greedy = made.predict(lm, TEXTS, how=Decode(max_new=5))
    assert greedy == reasoning(Decode(max_new=5)).predict(lm, TEXTS)
    with pytest.raises(SettingError, match="2 chains that are all alike at temperature 0 can't vote"):
        made.predict(lm, TEXTS, how=Decode(n=2))


def test_prompts_that_reason_vote_with_each_other_and_those_without_an_answer_do_not() -> None:
    lm = tiny("gpt2", scale=6.0)
    mute = replace(reasoning(), view=Chains(how=DRAWN, said=Pattern.of("number", r"no such (\d)")))
    one = reasoning(Decode(max_new=5))
    (answer,) = Ensemble(prompts=(mute, one, mute), vote=True).predict(lm, "cat")
    assert (answer.value, answer.confidence) == (one.predict(lm, "cat")[0].value, 1.0)
    (nothing,) = Ensemble(prompts=(mute, mute), vote=True).predict(lm, "cat")
    assert (nothing.value, nothing.why) == (None, "no answer could be read off any of 5 chains")


# By script.

PATHS = {"quickly": 0.34, "carefully": 0.22, "slowly": 0.22, "surely": 0.22}  # the likeliest leads to wrong answers


def sums(text: str) -> Mapping[str, float]:
    """Adds two numbers: rightly on three ways out of four, the likeliest of which isn't among them."""
    asked, _, said = text.rpartition("A:")
    one, other = map(int, asked.split("Q:")[-1].split())
    match said.split():
        case []:
            return {word: math.log(share) for word, share in PATHS.items()}
        case [way]:
            return {f"{way},": 0.0} if way == "so" else {"so": 0.0}
        case [_, "so"]:
            return {"the": 0.0}
        case [_, _, "the"]:
            return {"answer": 0.0}
        case [_, _, _, "answer"]:
            return {"is": 0.0}
        case [way, *_, "is"]:
            wrong = {str(one + other + off): 0.0 for off in (1, 2, 3)}
            return wrong if way == "quickly" else {str(one + other): 0.0}
    return {}


def adder() -> LM:
    words = ["Q:", "A:", *PATHS, "so", "the", "answer", "is", *map(str, range(40))]
    return ScriptedLM(words, sums, kind="causal")


QUESTIONS = tuple(Example({"one": a, "other": b}, str(a + b)) for a in range(2, 8) for b in range(11, 15))


def accuracy(how: Decode, **more: object) -> float:
    made = prompt("Q: {one} {other} A: {mask}", view=Chains(how=how, **more))
    answers = [one.value for one in made.predict(adder(), QUESTIONS)]
    return measure("text", [one.target for one in QUESTIONS], answers, samples=1)["number_match"].value


def test_a_vote_is_right_where_one_chain_is_not() -> None:
    assert accuracy(Decode(max_new=8)) == 0.0  # greedy, it takes the likeliest way
    single = accuracy(Decode(max_new=8, temperature=0.7, n=1))
    assert 0.3 < single < 0.85
    assert accuracy(Decode(max_new=8, temperature=0.7, n=15)) >= 0.95


def test_stopping_early_changes_no_answer_and_draws_less() -> None:
    how = Decode(max_new=8, temperature=0.7, n=40)
    made = [prompt("Q: {one} {other} A: {mask}", view=Chains(how=how, early=early)) for early in (False, True)]
    all_of_them, some = (one.predict(adder(), QUESTIONS[::3]) for one in made)
    assert [one.value for one in some] == [one.value for one in all_of_them]
    assert {len(one.texts) for one in all_of_them} == {40}
    counts = [len(one.texts) for one in some]
    assert sum(counts) < 40 * len(counts)
    assert all(count % ROUND == 0 for count in counts)


class Recorded:
    """A model that notes what it is asked to go on from."""

    def __init__(self, lm: LM) -> None:
        self.lm = lm
        self.texts: list[str] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self.lm, name)

    def generate(self, jobs: list, how: Decode) -> object:
        self.texts += [self.lm.text(job.row.ids) for job in jobs]
        return self.lm.generate(jobs, how)


def test_the_second_call_shows_the_chain_and_asks_for_its_answer() -> None:
    said = {"A:": {"think": 0.0}, "think": {"hard": 0.0}, "hard": {}, "is": {"7": 0.0, "8": -1.0}, "7": {}}
    words = ["Q:", "what", "A:", "think", "hard", "So", "it", "is", "7", "8"]
    lm = Recorded(ScriptedLM(words, lambda text: said[text.split()[-1]], kind="causal"))
    view = Chains(how=Decode(max_new=4), said=Pattern.of("number", alone=True), then="So it is")
    shown = Fixed((Example({"text": "what"}, "think hard 8"),))
    made = replace(prompt("Q: {text} A: {mask}", view=view), demos=shown)
    (answer,) = made.predict(lm, "what what")
    before = "Q: what A: think hard 8 Q: what what A:"
    assert lm.texts == [before, f"{before} think hard So it is"]
    assert (answer.value, answer.texts) == ("7", ("think hard So it is 7",))
    assert answer.confidence == pytest.approx(1 / (1 + math.exp(-1)))


def test_demonstrations_make_room_for_both_calls() -> None:
    """Dropped are the oldest, and as many in the second call as in the first, never the question."""
    lm = Recorded(tiny("gpt2"))
    shown = Fixed(tuple(Example({"text": f"cat {at}"}, "the dog sat on the mat") for at in range(9)))
    view = Chains(how=Decode(max_new=4), said=WORD, then="so it is", short=90)
    made = replace(prompt("{text!} =>{mask}", view=view), demos=shown)
    made.predict(lm, "the rain")
    first, second = lm.texts
    assert second.startswith(first)
    assert "the rain =>" in first
    assert 0 < first.count("cat") < 9
    assert "cat 8" in first
    assert len(lm.tokens(second)) + 90 <= lm.window
