"""The sheet's checks of KPT's refinement; numbers are worked out apart."""

import math

import pytest
import torch

from promptatlas.data.example import Example
from promptatlas.errors import DataError, SettingError, WordError
from promptatlas.lm.scripted import ScriptedLM
from promptatlas.prompting import Prompt
from promptatlas.prompting.make import prompt
from promptatlas.score.words import Words
from promptatlas.search.refine import apart, calibrated, common, cut, known, only, owners, prior, relevance, spoken
from promptatlas.testing.tasks import toy, toy_prompt
from promptatlas.testing.tiny import tiny

WORDS = Words.of({"A": ["a1", "a2"], "B": ["b1", "b2"]})
P = {"a1": 0.5, "a2": 0.2, "b1": 0.2, "b2": 0.1}
PRIOR = torch.tensor([0.6, 0.2, 0.1, 0.1]).log()


def says(shares: dict[str, float]) -> ScriptedLM:
    return ScriptedLM([*P], lambda text: {word: math.log(share) for word, share in shares.items()})


def asked(words: Words = WORDS) -> Prompt:
    return Prompt(template=prompt("{text} {mask}", words).template, words=words)


def test_calibrated_scores_are_the_oracle_s() -> None:
    lm = says(P)
    plain = asked().mass(lm, ["x"])[0].tolist()
    assert plain == pytest.approx([-1.1513, -1.9560], abs=1e-4)
    scores = calibrated(asked(), WORDS, PRIOR, logs=True).score(lm, ["x"])[0]
    assert float(scores[1] - scores[0]) == pytest.approx(-1.2290 + 1.6667, abs=1e-4)
    shares = calibrated(asked(), WORDS, PRIOR, logs=False).score(lm, ["x"])[0].exp()
    means = [(0.1724 + 0.2069) / 2, (0.4138 + 0.2069) / 2]
    assert shares.tolist() == pytest.approx([one / sum(means) for one in means], abs=1e-4)


@pytest.mark.parametrize("logs", [True, False])
def test_calibration_is_that_of_all_words_together(logs: bool) -> None:
    """Softmax over the words of all labels, divided, brought to sum to one, then averaged: on a real model."""
    lm, words = tiny("bert", scale=6.0), Words.of({"a": ["good", "great", "fine"], "b": ["bad"], "c": ["dull", "the"]})
    base = Prompt(template=toy_prompt().template, words=words)
    texts = toy().train[:6]
    scores = spoken(base, lm, texts, words)
    divided = (scores.softmax(1) / prior(scores).exp()).double()
    divided = divided / divided.sum(1, keepdim=True)
    torch.testing.assert_close(divided.sum(1), torch.ones(6, dtype=torch.float64))
    parts = (divided.log() if logs else divided).split([3, 1, 2], dim=1)
    means = torch.stack([one.mean(1) for one in parts], 1)
    wanted = (means if logs else means.log()).log_softmax(1).float()
    found = calibrated(base, words, prior(scores), logs=logs).score(lm, texts)
    torch.testing.assert_close(found, wanted, atol=2e-5, rtol=0)


def test_a_prior_that_is_the_same_for_all_changes_nothing() -> None:
    lm, flat = says(P), torch.full((4,), 0.25).log()
    for logs, rule in ((True, "mean_logit"), (False, "sum_prob")):
        plain = asked(Words.of(WORDS.words, over_words=rule)).score(lm, ["x"])  # type: ignore[arg-type]
        torch.testing.assert_close(calibrated(asked(), WORDS, flat, logs=logs).score(lm, ["x"]), plain)
    even = calibrated(asked(), WORDS, torch.tensor(list(P.values())).log(), logs=True).score(lm, ["x"])
    torch.testing.assert_close(even.exp(), torch.tensor([[0.5, 0.5]]))  # what is always said says nothing


def test_rare_words_go_by_the_whole_vocabulary() -> None:
    mean = torch.tensor([0.0, -1.0, -2.0, -3.0, 5.0, 1.0])
    words = [(0,), (2,), (4, 3), (5, 4)]
    assert common(mean, words, 0.0).tolist() == [True] * 4
    assert common(mean, words, 0.34).tolist() == [True, False, False, True]
    with pytest.raises(SettingError, match=r"`rare` is 1\.0"):
        common(mean, words, 1.0)


def test_relevance_of_two_labels_is_a_ratio_of_cosines() -> None:
    first = torch.tensor([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]], dtype=torch.float64)
    a, b, mixed = first[:, 0], first[:, 1], 2 * first[:, 0] + first[:, 1]
    scores = torch.stack([a, mixed, -a, torch.full((4,), 3.0, dtype=torch.float64), b, b + 0.5 * a], 1) + 7
    found = relevance(scores, torch.tensor([0, 0, 0, 0, 1, 1])).tolist()
    assert found[1] == pytest.approx(2.0)  # cosines 2/√5 and 1/√5
    assert found[5] == pytest.approx(2.0)
    assert found[0] > 1e6  # nothing of the other
    assert found[2] == -100
    assert found[3] == 0  # a word said everywhere alike


def test_of_three_labels_the_others_are_a_power_mean() -> None:
    scores = torch.randn(20, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    owner = torch.tensor([0, 0, 1, 1, 2, 2])
    centred = scores - scores.mean(0)
    cos = torch.corrcoef(centred.T)
    power = 10 / 1.01 + 1
    for word, mine in enumerate(owner.tolist()):
        firsts = [0, 2, 4]
        own = float(cos[word, firsts[mine]])
        others = [abs(float(cos[word, one])) for at, one in enumerate(firsts) if at != mine]
        wanted = own / (sum(one**power for one in others) ** (1 / power) / 2 ** (1 / power)) if own >= 0 else -100
        assert float(relevance(scores, owner)[word]) == pytest.approx(wanted, rel=1e-6)
    with pytest.raises(DataError, match="words of one label"):
        relevance(scores, torch.zeros(6, dtype=torch.long))


def test_one_share_of_each_label_is_kept() -> None:
    scores = torch.tensor([9.0, 0.9, 5.0, -100.0, 8.0, 1.1])
    kept = cut(scores, torch.tensor([0, 0, 0, 0, 1, 1]))
    assert kept.tolist() == [True, False, True, False, True, False]  # 0.9 and 1.1 come next
    lists = {"a": {"p": (0,), "q": (1,), "r": (2,), "s": (3,)}, "b": {"t": (4,), "u": (5,)}}
    assert only(lists, kept, "x") == {"a": {"p": (0,), "r": (2,)}, "b": {"t": (4,)}}
    assert owners(lists).tolist() == [0, 0, 0, 0, 1, 1]
    with pytest.warns(UserWarning, match="every word of label `a` is rare; the first stays"):
        assert only(lists, torch.tensor([False] * 4 + [True] * 2), "rare")["a"] == {"p": (0,)}


def test_words_are_those_the_model_can_read_each_once() -> None:
    lm = ScriptedLM(["big", "cat", "dog", "hot"], lambda text: {})
    lists = {"pets": ["cat", "big cat", "zebra", "big dog", "hot"], "food": ["hot dog", "dog", "cat"]}
    first = known(lists, lm, asked())
    assert first["pets"] == {"cat": (1,), "big cat": (0,), "hot": (3,)}
    assert known(lists, lm, asked(), "mean", 1)["food"] == {"dog": (2,), "cat": (1,)}
    whole = known(lists, lm, asked(), "mean")
    assert apart(whole) == {
        "pets": {"cat": (1,), "big cat": (0, 1), "big dog": (0, 2), "hot": (3,)},
        "food": {"hot dog": (3, 2), "dog": (2,)},
    }
    assert apart(first)["pets"] == {"cat": (1,), "big cat": (0,)}  # `hot` is how `hot dog` begins
    with pytest.raises(WordError, match="scripted can read none of the 1 words of label `sea`"):
        known({"sea": ["whale"], "land": ["cat"]}, lm, asked())
    with pytest.raises(WordError, match="labels `a` and `b` both begin with the word `cat`"):
        apart(known({"a": ["cat"], "b": ["cat", "dog"]}, lm, asked()))


@pytest.mark.parametrize("name", ["bert", "llama", "t5"])
def test_what_is_said_of_a_word_is_its_own_and_of_long_words_too(name: str) -> None:
    lm, texts = tiny(name), [Example({"text": "the old town"}), Example({"text": "a film"})]
    words = Words.of({"a": ["good", "unbelievable movie"], "b": ["bad"]}, over_tokens="mean")
    found = spoken(toy_prompt(), lm, texts, words)
    alone = Prompt(
        template=toy_prompt().template, words=Words.of({"x": "good", "y": "unbelievable movie"}, over_tokens="mean")
    )
    torch.testing.assert_close(found[:, :2].float(), alone.mass(lm, texts), atol=1e-5, rtol=0)
