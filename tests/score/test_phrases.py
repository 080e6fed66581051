"""Phrases: the sheet's oracle, the trie, and what is refused."""

from collections.abc import Mapping
from itertools import permutations
from math import log

import pytest
import torch
from tests.score.asking import fold

from promptatlas.data.example import Example
from promptatlas.errors import ModelError, SettingError, WordError
from promptatlas.lm.activations import ending
from promptatlas.lm.scripted import ScriptedLM
from promptatlas.prompting import Prompt
from promptatlas.score.phrases import By, Phrases
from promptatlas.testing.tiny import tiny
from promptatlas.text.template import Template

SAID: Mapping[str, Mapping[str, float]] = {
    "q": {"science": 0.5, "sports": 0.3}, "q science": {"news": 0.8}, "q science news": {"END": 1.0},
    "q sports": {"END": 0.9},
}  # fmt: skip
ASKED = [Example({"text": "q"})]
PHRASES = {"A": "science news END", "B": "sports END"}  # a scripted model has no end of its own


def script(text: str) -> dict[str, float]:
    shares = SAID[text]
    rest = 1 - sum(shares.values())
    return {word: log(share) for word, share in ({**shares, "rest": rest} if rest else shares).items()}


SCRIPTED = ScriptedLM(["q", "science", "news", "sports", "END", "rest"], script, kind="causal")


def scores(by: By, texts: Mapping[str, str] = PHRASES, *, mass: bool = False) -> list[float]:
    return fold(SCRIPTED, Phrases(texts=texts, by=by), "{text} {mask}", ASKED, mass=mass)[0].tolist()


def test_the_oracle() -> None:
    assert scores("sum") == pytest.approx((-0.916291, -1.309333), abs=1e-6)
    assert scores("mean") == pytest.approx((-0.305430, -0.654667), abs=1e-6)
    prompt = Prompt(template=Template.parse("{text} {mask}"), words=Phrases(texts=PHRASES))
    assert list(prompt.predict(SCRIPTED, ASKED)[0].probabilities.values()) == pytest.approx(
        (0.597015, 0.402985), abs=1e-6
    )


def test_a_trie_counts_at_every_token_only_what_goes_on_to_a_phrase() -> None:
    """At the first token .5 and .3 of .8; from there on there is one way."""
    assert scores("trie") == pytest.approx((log(0.625), log(0.375)), abs=1e-6)
    assert scores("trie", mass=True) == scores("sum") == scores("mean", mass=True)


def test_a_single_phrase_is_certain_and_its_mass_the_model_s() -> None:
    assert scores("trie", {"A": PHRASES["A"]}) == pytest.approx([0.0], abs=1e-6)
    assert scores("trie", {"A": PHRASES["A"]}, mass=True) == pytest.approx([log(0.4)], abs=1e-6)


@pytest.mark.parametrize("family", ["llama", "gpt2", "t5"])
def test_a_phrase_that_begins_another_is_told_by_its_end(family: str) -> None:
    lm, template = tiny(family), Template.parse("{text} : {mask}")
    words = Phrases(texts={"a": "sports", "b": "sports news", "c": "world"}, by="trie")
    sports, news, _ = words.tokens(lm, template)
    assert sports == (*news[: len(sports) - 1], *ending(lm))
    found = fold(lm, words, str(template), [Example({"text": "the cat sat"})])
    assert float(found.exp().sum()) == pytest.approx(1.0, abs=1e-5)
    by_hand = fold(lm, words, str(template), [Example({"text": "the cat sat"})], mass=True)
    assert by_hand.exp().sum() < 0.5


def test_where_there_is_no_end_it_is_refused() -> None:
    with pytest.raises(WordError, match="`sports` begins `sports news`, and scripted has no end to tell"):
        scores("sum", {"a": "sports", "b": "sports news"})


def test_scores_hang_neither_on_the_batch_nor_on_the_order_of_labels() -> None:
    texts = {"a": "sports", "b": "sports news", "c": "a very good movie"}
    lm, examples = tiny("llama"), [Example({"text": one}) for one in ("the cat sat", "", "rain upon the hill " * 5)]
    for by in ("sum", "mean", "trie"):
        together = fold(lm, Phrases(texts=texts, by=by), "{text} : {mask}", examples)  # type: ignore[arg-type]
        for order in permutations(texts):
            words = Phrases(texts={label: texts[label] for label in order}, by=by)  # type: ignore[arg-type]
            alone = torch.cat([fold(lm, words, "{text} : {mask}", [one]) for one in examples])
            turned = alone[:, [order.index(label) for label in texts]]
            assert torch.allclose(turned, together, atol=1e-5)


def test_what_is_written_is_compared_but_for_blanks_capitals_and_quotes() -> None:
    words = Phrases(texts={"a": "Science & Technology", "b": "Caf\u00e9 News", "zh": "体育"}, by="write")
    assert words.match(' "science  &  technology" ') == "a"
    assert words.match("CAFE\u0301 NEWS") == "b"
    assert words.match("“体育”") == "zh"
    for other in ("Science", "Science & Technology & News", "", "Scince & Technology"):
        assert words.match(other) is None


def test_what_no_model_could_say_is_refused() -> None:
    for texts, told in (
        ({}, "there are no labels"),
        ({"a": " ", "b": "x"}, "the phrase of `a` is empty"),
        ({"a": '""', "b": "x"}, "the phrase of `a` is empty"),
        ({"a": "x\ny"}, "the phrase of `a` has a line break in it"),
        ({"a": "Sports", "b": "x", "c": '"sports "'}, "`a` and `c` have one phrase"),
    ):
        with pytest.raises(SettingError, match=told):
            Phrases(texts=texts)
    odd = Phrases(texts={"a": "x"})
    object.__setattr__(odd, "by", "wrte")  # the tests' own check of types would stop `Phrases(by="wrte")` first
    with pytest.raises(SettingError, match="`by` can't be `wrte`") as caught:
        odd.__post_init__()
    assert caught.value.hint == "did you mean `write`?"
    with pytest.raises(SettingError, match="there is no label `c`"):
        Phrases(texts={"a": "x"}).word("c")
    with pytest.raises(WordError, match="are the same tokens in scripted"):
        scores("sum", {"a": "unknown", "b": "unheard"})
    with pytest.raises(WordError, match="has no slot where a phrase could stand"):
        Phrases(texts=PHRASES).queries(SCRIPTED, Template.parse("{text}"), ASKED[0])


def test_a_masked_model_scores_phrases_and_writes_none() -> None:
    prompt = Prompt(template=Template.parse("{text} : {mask}"), words=Phrases(texts={"a": "good", "b": "bad film"}))
    assert float(prompt.score(tiny("bert"), ["the cat"]).exp().sum()) == pytest.approx(1.0)
    writing = Prompt(template=prompt.template, words=Phrases(texts={"a": "good", "b": "bad"}, by="write"))
    with pytest.raises(ModelError, match="a masked model can't write on"):
        writing.predict(tiny("bert"), ["the cat"])
