from collections.abc import Mapping
from dataclasses import replace
from math import exp, log

import pytest
import torch
from tests.score.asking import fold

from promptatlas.data.example import Example
from promptatlas.errors import SettingError, WordError
from promptatlas.lm.scripted import ScriptedLM
from promptatlas.score.words import Words
from promptatlas.text.template import Template

TEXT = "{text} It was {mask}"
X = Example({"text": "plain"})
LOGITS = {"bad": 1.0, "good": 3.0, "fine": 2.0, "poor": -1.0}
LM = ScriptedLM([*LOGITS, "It", "was", "plain", "other"], lambda text: LOGITS)


def said(logp: Mapping[str, float]) -> dict[str, float]:
    """Log-probabilities of the words, what is missing to one on a word of its own."""
    return {**logp, "rest": log(1 - sum(map(exp, logp.values())))}


def test_one_word_a_label_is_the_softmax_of_its_logits() -> None:
    scores = fold(LM, Words.of({"negative": "bad", "positive": "good"}), TEXT, [X])
    assert scores.tolist() == [[1.0, 3.0]]
    assert scores.softmax(-1)[0].tolist() == pytest.approx([0.119203, 0.880797], abs=1e-6)


def test_the_mean_of_words_is_taken_over_logits() -> None:
    words = Words.of({"negative": ["bad", "poor"], "positive": ["good", "fine", "plain"]}, over_words="mean_logit")
    lm = ScriptedLM(LM.words[:-3], lambda text: {**LOGITS, "plain": 1.0})
    assert fold(lm, words, TEXT, [X]).tolist() == [[0.0, 2.0]]


def test_a_word_said_twice_changes_nothing() -> None:
    once = fold(LM, Words.of({"negative": ["bad", "poor"], "positive": "good"}), TEXT, [X])
    twice = fold(LM, Words.of({"negative": ["bad", "poor", "bad"], "positive": ["good", "good"]}), TEXT, [X])
    assert twice.tolist() == once.tolist()


@pytest.mark.parametrize("over_words", ["mean_logit", "sum_prob"])
@pytest.mark.parametrize("mass", [False, True])
def test_a_constant_on_all_logits_changes_no_probability(over_words: str, mass: bool) -> None:
    shifted = ScriptedLM(LM.words[:-3], lambda text: {word: logit + 7.5 for word, logit in LOGITS.items()})
    words = replace(Words.of({"negative": ["bad", "poor"], "positive": "good"}), over_words=over_words)
    one, other = (fold(lm, words, TEXT, [X], mass=mass).softmax(-1) for lm in (LM, shifted))
    torch.testing.assert_close(one, other)
    torch.testing.assert_close(one.sum(-1), torch.ones(1))


def test_mass_is_a_probability_under_the_vocabulary() -> None:
    everything = sum(map(exp, LOGITS.values()))
    words = Words.of({"negative": ["bad", "poor"], "positive": "good"}, over_words="sum_prob")
    found = fold(LM, words, TEXT, [X], mass=True).exp()[0].tolist()
    assert found == pytest.approx([(exp(1) + exp(-1)) / everything, exp(3) / everything], rel=1e-6)
    whole = Words.of({word: word for word in LOGITS}, over_words="sum_prob")
    assert fold(LM, whole, TEXT, [X], mass=True).exp().sum().item() == pytest.approx(1, abs=1e-6)


def test_words_of_one_label_add_their_probabilities() -> None:
    lm = ScriptedLM(
        ["Technology", "Science", "World", "rest"], lambda text: said({"Technology": log(0.02), "Science": log(0.03)})
    )
    words = Words.of({"tech": ["Technology", "Science"], "other": "rest"}, over_words="sum_prob")
    assert fold(lm, words, "{mask}", [X], mass=True).exp()[0].tolist() == pytest.approx([0.05, 0.95], abs=1e-6)


def test_the_word_with_the_first_id_counts() -> None:
    assert LM.ids["bad"] == 0
    scores = fold(LM, Words.of({"negative": ["bad", "poor"], "positive": ["good"]}), TEXT, [X])
    assert scores.tolist() == [[0.0, 3.0]]  # (1 - 1) / 2


@pytest.mark.parametrize(
    ("over_words", "expected"), [("mean_logit", (1 * 1 + 3 * -1) / 4), ("sum_prob", log(1 * exp(1) + 3 * exp(-1)))]
)
def test_weights(over_words: str, expected: float) -> None:
    words = Words.of(
        {"negative": ["bad", "poor"], "positive": "good"}, weights={"negative": [1.0, 3.0], "positive": [2.0]}
    )
    scores = fold(LM, replace(words, over_words=over_words), TEXT, [X])[0].tolist()
    assert scores == pytest.approx([expected, 3.0 if over_words == "mean_logit" else 3 + log(2)], abs=1e-6)


def test_an_impossible_word_without_weight_does_no_harm() -> None:
    weights = {"negative": [1.0, 0.0], "positive": [1.0]}
    for rule in ("mean_logit", "sum_prob"):
        words = replace(Words.of({"negative": ["bad", "other"], "positive": "good"}, weights=weights), over_words=rule)
        assert fold(LM, words, TEXT, [X])[0].tolist() == [1.0, 3.0]


def test_a_score_does_not_depend_on_other_examples() -> None:
    lm = ScriptedLM(LM.words[:-3], lambda text: LOGITS if "plain" in text else {**LOGITS, "good": -2.0})
    words = Words.of({"negative": ["bad", "poor"], "positive": "good"})
    examples = [X, Example({"text": "other"}), X]
    together = fold(lm, words, TEXT, examples, mass=True)
    for i, example in enumerate(examples):
        assert together[i].tolist() == fold(lm, words, TEXT, [example], mass=True)[0].tolist()
    assert fold(lm, words, TEXT, []).shape == (0, 2)


# Words of several tokens


def by_end(answers: Mapping[str, dict[str, float]], other: dict[str, float]) -> ScriptedLM:
    def answer(text: str) -> dict[str, float]:
        return next((found for end, found in answers.items() if text.endswith(end)), other)

    return ScriptedLM(["w0", "w1", "w2", "rest", "q"], answer, kind="causal")


@pytest.mark.parametrize(
    ("rule", "expected", "best"),
    [("sum", (-2.0, -1.8), 1), ("mean", (-1.0, -1.8), 0), ("first", (-1.0, -1.8), 0)],
)
def test_the_rule_over_tokens_decides_between_lengths(rule: str, expected: tuple[float, float], best: int) -> None:
    lm = by_end({"w0": said({"w1": -1.0})}, said({"w0": -1.0, "w2": -1.8}))
    words = replace(Words.of({"A": "w0 w1", "B": "w2"}), over_tokens=rule)
    scores = fold(lm, words, "q {mask}", [X], mass=True)[0]
    assert scores.tolist() == pytest.approx(expected, abs=1e-6)
    assert scores.argmax().item() == best


def test_two_tokens_against_one() -> None:
    lm = by_end({"w0": said({"w1": log(0.5)})}, said({"w0": log(0.4), "w2": log(0.15)}))
    words = Words.of({"two": "w0 w1", "one": "w2"})
    found = {rule: fold(lm, replace(words, over_tokens=rule), "q {mask}", [X])[0].tolist() for rule in ("sum", "mean")}
    assert found["sum"] == pytest.approx([-1.609438, -1.897120], abs=1e-6)
    assert found["mean"] == pytest.approx([-0.804719, -1.897120], abs=1e-6)


def test_a_masked_model_reads_a_long_word_in_as_many_masks() -> None:
    def answer(text: str) -> dict[str, float]:
        return {
            "q [MASK]": said({"w2": log(0.2)}),
            "q [MASK] _": said({"w0": log(0.5), "w1": log(0.1)}),
            "q _ [MASK]": said({"w1": log(0.25), "w0": log(0.3)}),
        }[text]

    lm = ScriptedLM(["w0", "w1", "w2", "rest", "q"], answer)
    words = Words.of({"A": ["w0 w1", "w1 w0"], "B": "w2"}, over_words="sum_prob")
    assert [query.width for query in words.queries(lm, Template.parse("q {mask}"), X)] == [1, 2]
    found = fold(lm, words, "q {mask}", [X, X], mass=True).exp()
    torch.testing.assert_close(found, torch.tensor([[0.5 * 0.25 + 0.1 * 0.3, 0.2]] * 2))


def test_a_seq2seq_model_reads_a_long_word_token_after_token() -> None:
    answers = {"q [MASK] >": said({"w0": log(0.5), "w2": log(0.2)}), "q [MASK] > w0": said({"w1": log(0.25)})}
    lm = ScriptedLM(["w0", "w1", "w2", "rest", "q"], answers.__getitem__, kind="seq2seq")
    found = fold(lm, Words.of({"A": "w0 w1", "B": "w2"}), "q {mask}", [X], mass=True).exp()
    torch.testing.assert_close(found, torch.tensor([[0.125, 0.2]]))


def test_one_token_words_share_a_query_beside_long_ones() -> None:
    lm = by_end({}, said({"w0": -1.0}))
    queries = Words.of({"A": "w0 w1", "B": "w2", "C": "q"}).queries(lm, Template.parse("q {mask}"), X)
    assert [query.answer for query in queries] == [(), (0, 1)]
    assert len(queries[0].asks[0].ids) == 2  # type: ignore[union-attr]


def test_a_word_that_goes_on_from_another_is_told() -> None:
    lm = by_end({}, said({"w0": -1.0}))
    with pytest.warns(UserWarning, match="word `w0 w1` of label `A` goes on from word `w0` of label `B`"):
        Words.of({"A": "w0 w1", "B": "w0"}).queries(lm, Template.parse("q {mask}"), X)


# What can't be read


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({}, "there are no labels"),
        ({"a": []}, "label `a` has no words"),
        ({"a": "good", "b": "  "}, "a word of label `b` is empty"),
        ({"a": ["good", "fine"], "b": ["bad", "good"]}, "labels `a` and `b` share the word `good`"),
    ],
)
def test_words_no_model_can_read(words: dict, message: str) -> None:
    with pytest.raises(WordError) as error:
        Words.of(words)
    assert error.value.message == message


@pytest.mark.parametrize(
    ("words", "rule", "message"),
    [
        (
            {"a": "good", "b": "odd"},
            "sum",
            "label word `odd` of label `b` is not in the vocabulary of scripted: `[UNK]`",
        ),
        ({"a": "[MASK]"}, "sum", "label word `[MASK]` of label `a` is not in the vocabulary of scripted: `[UNK]`"),
        (
            {"a": "good", "b": "good "},
            "sum",
            "word `good` of label `a` and word `good ` of label `b` are the same tokens in scripted: `good`",
        ),
        (
            {"a": "good bad", "b": "good"},
            "first",
            "word `good bad` of label `a` and word `good` of label `b` begin with the same token in scripted: `good`",
        ),
    ],
)
def test_words_this_model_can_not_read(words: dict, rule: str, message: str) -> None:
    with pytest.raises(WordError) as error:
        replace(Words.of(words), over_tokens=rule).queries(LM, Template.parse(TEXT), X)
    assert error.value.message == message


def test_where_one_token_is_asked_a_longer_word_is_refused_whole() -> None:
    class Halves(ScriptedLM):
        def tokens(self, text: str) -> tuple[int, ...]:
            return super().tokens("unfor- -tunate" if text == "unfortunate" else text)

    lm = Halves(["unfor-", "-tunate", "unfortunately", "fortunate", "under", "bad"], lambda text: LOGITS)
    with pytest.raises(WordError) as error:
        Words.of({"negative": "unfortunate"}, single=True).queries(lm, Template.parse(TEXT), X)
    assert str(error.value) == (
        "label word `unfortunate` of label `negative` is 2 tokens in scripted: `unfor-` `-tunate`\n\n"
        "hint: use a word that is one token (`unfortunately`), or Words(..., single=False)"
    )


@pytest.mark.parametrize(("template", "count"), [("{text}", 0), ("{mask:a} {mask:b}", 2)])
def test_words_need_one_slot(template: str, count: int) -> None:
    with pytest.raises(WordError, match=f"read at one slot, and `.*` has {count}"):
        Words.of({"a": "good"}).queries(LM, Template.parse(template), X)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"a": [1.0]}, "label `b` is in only one of words and weights"),
        ({"a": [1.0, 2.0], "b": [1.0]}, "label `a` has 1 words and 2 weights"),
        ({"a": [1.0], "b": [0.0]}, "the weights of label `b` are 0.0"),
        ({"a": [-1.0], "b": [1.0]}, "the weights of label `a` are -1.0"),
    ],
)
def test_weights_that_do_not_fit(weights: dict, message: str) -> None:
    with pytest.raises(SettingError) as error:
        Words.of({"a": "good", "b": "bad"}, weights=weights)
    assert error.value.message == message


def test_readings_without_a_total_tell_no_probability() -> None:
    words, template = Words.of({"a": "good", "b": "bad"}), Template.parse(TEXT)
    (query,) = words.queries(LM, template, X)
    assert query.asks[0].mass is False  # type: ignore[union-attr]
    (query,) = replace(words, normaliser="vocabulary").queries(LM, template, X)
    assert query.asks[0].mass is True  # type: ignore[union-attr]


# As values


def test_words_are_saved_and_compared_with_their_order() -> None:
    words = Words.of(
        {"a": ["good", "fine"], "b": "bad"}, over_words="sum_prob", weights={"b": [1.0], "a": [1.0, 2.0]}, single=True
    )
    again = Words.build(words.config(), words.tensors())
    assert again == words
    assert hash(again) == hash(words)
    assert again.labels == ("a", "b")
    assert words.word("a") == "good"
    assert Words.of({"a": "good", "b": "bad"}) != Words.of({"b": "bad", "a": "good"})
    with pytest.raises(SettingError, match="there is no label `c`"):
        words.word("c")


def test_tokens_are_worked_out_once_for_a_model() -> None:
    calls = []

    class Counting(ScriptedLM):
        def word(self, word: str, before: object) -> tuple[int, ...]:
            calls.append(word)
            return self.tokens(word)

    lm, words = Counting(LM.words[:-3], lambda text: LOGITS), Words.of({"a": "good", "b": "bad"})
    fold(lm, words, TEXT, [X, X, X])
    assert calls == ["good", "bad"]
    assert words.tokens(lm, Template.parse(TEXT)) == {"a": ((1,),), "b": ((0,),)}
