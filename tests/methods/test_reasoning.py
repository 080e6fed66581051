"""Chain of thought and self-consistency, as methods."""

from dataclasses import replace

import pytest

from promptatlas.data.example import Example
from promptatlas.errors import NeedsError, SettingError
from promptatlas.lm.ask import Decode
from promptatlas.methods.chain_of_thought import ChainOfThought
from promptatlas.methods.self_consistency import SelfConsistency
from promptatlas.prompting import Prompt
from promptatlas.prompting.make import prompt
from promptatlas.registry import method
from promptatlas.score.chains import Chains
from promptatlas.testing import check_method, tiny, toy_texts, toy_texts_prompt
from promptatlas.text.pattern import ALONE, SAID
from promptatlas.train.reasoned import EXTRACT

TASK, START = toy_texts(), toy_texts_prompt()
QUICK = {"k": 2, "answer": "text", "max_new": 4}


def view(made: Prompt) -> Chains:
    assert isinstance(made.view, Chains)
    return made.view


@pytest.mark.parametrize(
    ("one", "family"),
    [
        (ChainOfThought(k=0, answer="text", max_new=3), "gpt2"),
        (ChainOfThought(k=0, answer="text", max_new=3, extract=""), "bart"),
        (SelfConsistency(k=0, answer="text", max_new=3, chains=2), "llama"),
    ],
)
def test_both_keep_the_contract_without_examples(one: ChainOfThought | SelfConsistency, family: str) -> None:
    check_method(one, tiny(family), TASK, START)


def test_few_examples_show_chains_and_the_answer_is_in_the_chain() -> None:
    lm = tiny("gpt2")
    made = ChainOfThought(**QUICK).fit(lm, TASK, START)
    assert made.template == START.template
    assert view(made) == Chains(how=Decode(max_new=4, stop=("\n\n",)), said=view(made).said)
    assert view(made).said.find == SAID["text"]
    shown = made.demos.pick(lm, [Example({"text": "the film"})])[0]
    assert all(str(one.target).startswith("It is about the ") for one in shown)
    assert {str(one.target).split(" answer is ")[1] for one in shown} <= {"pets.", "weather."}
    assert made.history[-1].settings["k"] == 2


def test_without_examples_two_calls_ask() -> None:
    made = ChainOfThought(k=0).fit(tiny("gpt2"), replace(TASK, train=()), START)
    assert str(made.template) == "{text} Topic : Let's think step by step. {mask}"
    assert view(made).then == EXTRACT["number"] == "Therefore, the answer (arabic numerals) is"
    assert (view(made).said.find, view(made).said.take) == (ALONE["number"], "first")
    once = ChainOfThought(k=0, extract="", answer="option").fit(tiny("gpt2"), TASK, START)
    assert (view(once).then, view(once).said.find, view(once).said.take) == ("", SAID["option"], "last")


def test_a_pattern_of_ones_own_is_kept_in_the_prompt() -> None:
    made = ChainOfThought(k=2, pattern=r"is (pets|weather)", answer="text").fit(tiny("gpt2"), TASK, START)
    assert view(made).said.find == r"is (pets|weather)"
    with pytest.raises(SettingError, match="is no regular expression"):
        ChainOfThought(k=2, pattern="(").fit(tiny("gpt2"), TASK, START)


def test_chains_that_reason_already_are_voted_on() -> None:
    lm = tiny("gpt2", scale=6.0)
    first = ChainOfThought(**QUICK, pattern=r"(\w+)").fit(lm, TASK, START)
    made = SelfConsistency(chains=5, temperature=0.5, top_k=40, vote="weighted", early=True, seed=7).fit(
        lm, TASK, first
    )
    assert (made.template, made.demos) == (first.template, first.demos)
    assert view(made).said == view(first).said
    assert view(made).how == replace(view(first).how, n=5, temperature=0.5, top_k=40, seed=7)
    assert (view(made).vote, view(made).early) == ("weighted", True)
    assert [one.method for one in made.history] == ["chain_of_thought", "self_consistency"]


def test_one_chain_at_temperature_nought_equals_chain_of_thought() -> None:
    """Sheet 48, oracle 7."""
    lm = tiny("gpt2", scale=6.0)
    first = ChainOfThought(**QUICK).fit(lm, TASK, START)
    made = SelfConsistency(chains=1, temperature=0.0).fit(lm, TASK, first)
    assert made.predict(lm, TASK.test[:4]) == first.predict(lm, TASK.test[:4])
    assert SelfConsistency(chains=1, temperature=0.0, **QUICK).fit(lm, TASK, START) == made


def test_the_paper_draws_forty() -> None:
    assert method("self_consistency", paper=True).chains == 40


def test_many_chains_at_temperature_nought_are_refused() -> None:
    with pytest.raises(SettingError, match="10 chains that are all alike at temperature 0 can't vote"):
        SelfConsistency(temperature=0.0, **QUICK).fit(tiny("gpt2"), TASK, START)


@pytest.mark.parametrize("name", ["chain_of_thought", "self_consistency"])
def test_what_is_missing_is_said_before_any_work(name: str) -> None:
    lm = tiny("gpt2")
    with pytest.raises(NeedsError, match=f"`{name}` needs train examples, and `toy texts` has none"):
        method(name).fit(lm, replace(TASK, train=()), START)
    with pytest.raises(NeedsError, match=f"`{name}` needs a causal or seq2seq model"):
        method(name).fit(tiny("bert"), TASK, START)
    with pytest.raises(SettingError, match="3 training examples of `toy texts` have all of"):
        method(name, k=4).fit(lm, replace(TASK, train=TASK.train[:3]), START)
    with pytest.raises(NeedsError, match=f"`{name}` needs a template with a slot"):
        method(name).fit(lm, TASK, prompt("{text}", view=TASK.view))
