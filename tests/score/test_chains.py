"""Votes of chains, by the sheet's numbers."""

import math

import pytest

from promptatlas.data.example import Example
from promptatlas.errors import SettingError
from promptatlas.lm.ask import Decode
from promptatlas.score.chains import Chain, Chains, Vote
from promptatlas.text.pattern import Pattern

NUMBER = Pattern.of("number")


def chains(*said: tuple[str | None, float], tokens: int = 1) -> list[Chain]:
    return [Chain(f"it is {value}", value, math.log(p) * tokens, tokens) for value, p in said]


def drawn(*texts: str) -> list[Chain]:
    return [Chain(text, NUMBER.read(text), -1.0, 3) for text in texts]


def test_the_vote_of_the_sheet() -> None:
    """Sheet 48, oracle 6: [18, 26, 18, None, 18.0] -> 18 with 3/4."""
    answer = Chains().answer(drawn("it is 18", "it is 26", "$18", "no idea", "18.0"))
    assert answer.value == "18"
    assert answer.confidence == 3 / 4
    assert answer.probabilities == {"18": 3 / 4, "26": 1 / 4}
    assert answer.why == "no answer could be read off 1 of 5 chains"
    assert answer.texts == ("it is 18", "it is 26", "$18", "no idea", "18.0")


@pytest.mark.parametrize(
    ("vote", "value", "share"), [("majority", "18", 3 / 4), ("weighted", "26", 5 / 8), ("normalised", "26", 5 / 8)]
)
def test_a_likely_chain_may_outweigh_several(vote: Vote, value: str, share: float) -> None:
    said = chains(("18", 0.1), ("18", 0.1), ("18", 0.1), ("26", 0.5))
    answer = Chains(vote=vote).answer(said)
    assert (answer.value, answer.confidence) == (value, pytest.approx(share))


def test_length_counts_in_probabilities_alone() -> None:
    """The longer chain is as likely token by token; two short ones are likelier than it together."""
    said = [Chain("a", "18", 4 * math.log(0.5), 4), Chain("b", "26", math.log(0.4), 1)]
    assert Chains(vote="weighted").answer(said).value == "26"  # 0.0625 < 0.4
    assert Chains(vote="normalised").answer(said).value == "18"  # 0.5 > 0.4


def test_sums_are_not_divided_by_counts() -> None:
    said = chains(("18", 0.3), ("18", 0.3), ("26", 0.5))
    assert Chains(vote="normalised").answer(said).value == "18"  # 0.6 > 0.5, though 0.3 < 0.5


def test_ties_go_to_the_likelier_and_then_to_the_first() -> None:
    assert Chains().answer(chains(("18", 0.1), ("26", 0.3))).value == "26"
    assert Chains().answer(chains(("18", 0.2), ("26", 0.2))).value == "18"
    assert Chains().answer(chains(("26", 0.2), ("18", 0.2))).value == "26"


def test_capitals_make_no_other_answer() -> None:
    answer = Chains().answer(chains(("Yes", 0.1), ("no", 0.9), ("yes", 0.1)))
    assert (answer.value, answer.confidence) == ("Yes", pytest.approx(2 / 3))


def test_where_no_chain_has_an_answer_there_is_none_and_it_says_why() -> None:
    answer = Chains().answer(chains((None, 0.5), (None, 0.5)))
    assert (answer.value, answer.confidence) == (None, 0.0)
    assert answer.why == "no answer could be read off any of 2 chains"
    alone = Chains().answer(chains((None, 0.5)))
    assert (alone.value, alone.why) == (None, "no answer could be read off the chain")


def test_one_chain_has_its_probability_and_no_vote() -> None:
    answer = Chains().answer(chains(("18", 0.25)))
    assert (answer.value, answer.confidence, answer.probabilities) == ("18", pytest.approx(0.25), {})


def test_chains_too_long_to_have_a_probability_still_give_an_answer() -> None:
    said = [Chain("a", "18", -2000.0, 900), Chain("b", "18", -2000.0, 900), Chain("c", "26", -2000.0, 900)]
    assert Chains(vote="weighted").answer(said).value == "18"


def test_it_is_settled_when_the_leader_is_unreachable() -> None:
    said = chains(("18", 0.5), ("18", 0.5), ("18", 0.5), ("26", 0.5), (None, 0.5))
    view = Chains()
    assert view.settled(said, 1)
    assert not view.settled(said, 2)  # a tie could be broken either way
    assert not view.settled(chains((None, 0.5)), 3)
    assert Chains(vote="weighted").settled(said, 0)
    assert not Chains(vote="weighted").settled(said, 1)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (Decode(n=3), "3 chains that are all alike at temperature 0 can't vote"),
        (Decode(n=3, temperature=0.5, beams=3), "3 chains that are searched by 3 beams can't vote"),
        (Decode(n=0), "0 chains of 32 tokens"),
        (Decode(max_new=0), "1 chains of 0 tokens"),
        (Decode(temperature=-1.0), "a temperature of -1"),
    ],
)
def test_chains_that_cannot_vote_are_refused(how: Decode, message: str) -> None:
    with pytest.raises(SettingError) as caught:
        Chains(how=how)
    assert caught.value.message == message


def test_other_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(SettingError, match="an answer of 0 tokens"):
        Chains(then="So", short=0)
    with pytest.raises(SettingError, match="chains are written, and have no scores"):
        Chains().fold(Example(), [[0.0]], ("",))
    with pytest.raises(SettingError, match="chains are written, and have no scores"):
        Chains().logits([[0.0]], ("",))
