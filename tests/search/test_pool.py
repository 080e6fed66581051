"""Which tokens are words, and what a model says of them."""

import pytest
import torch

from promptatlas.data.example import Example
from promptatlas.errors import DataError, WordError
from promptatlas.lm.scripted import ScriptedLM
from promptatlas.prompting.make import prompt
from promptatlas.search.pool import heard, is_word, pool, said
from promptatlas.search.words import evidence
from promptatlas.testing.tasks import toy, toy_prompt
from promptatlas.testing.tiny import names, tiny
from promptatlas.text.template import Template

TEMPLATE = Template.parse("{text} It was {mask}")


@pytest.mark.parametrize("name", names())
def test_every_word_is_one_token_at_the_slot(name: str) -> None:
    lm = tiny(name)
    found = pool(lm, TEMPLATE)
    assert {"great", "terrible", "movie"} <= found.keys()
    before = TEMPLATE.before(TEMPLATE.slots[0])
    assert all(lm.word(word, before) == (token,) for word, token in found.items())
    assert not set(found.values()) & lm.special
    assert all(is_word(word) for word in found)
    assert list(found.values()) == sorted(found.values())


def test_a_piece_from_inside_a_word_is_none() -> None:
    lm = tiny("bert")
    pieces = dict(zip(pool(lm, TEMPLATE).values(), pool(lm, TEMPLATE), strict=True))
    assert not [token for token in pieces if lm.pieces([token])[0].startswith("##")]


@pytest.mark.parametrize("name", ["bert", "llama"])
def test_a_single_chinese_character_is_a_word_and_a_single_letter_is_none(name: str) -> None:
    found = pool(tiny(name), Template.parse("{text}很{mask}"))
    assert {"好", "差"} & found.keys()
    assert not {"a", "b", "!", "？"} & found.keys()


def test_the_commonest_in_the_texts_come_first_and_some_are_not_wanted() -> None:
    lm = ScriptedLM(["sea", "Land", "sky", "rain"], lambda text: {})
    texts = [Example({"text": "rain sky rain", "other": "sea sea sea sea"}), Example({"text": "sky rain"})]
    template = Template.parse("{text} {mask}")
    assert list(pool(lm, template, examples=texts, most=2)) == ["sky", "rain"]
    assert list(pool(lm, template, examples=texts, most=3)) == ["sea", "sky", "rain"]  # the rest as the vocabulary goes
    assert list(pool(lm, template, without=("land", "RAIN"))) == ["sea", "sky"]


def test_what_is_said_does_not_depend_on_how_many_are_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    lm, examples = tiny("bert"), toy().train[:5]
    words = pool(lm, TEMPLATE)
    whole = torch.cat(list(said(toy_prompt(), lm, examples)))
    some = torch.cat(list(said(toy_prompt(), lm, examples, words)))
    torch.testing.assert_close(whole.exp().sum(1), torch.ones(5))
    torch.testing.assert_close(some, whole[:, [*words.values()]])
    shares = torch.eye(2)[[0, 1, 0, 1, 0]]
    monkeypatch.setattr("promptatlas.search.pool.TOGETHER", 2)
    summed = heard(toy_prompt(), lm, examples, shares, words)
    torch.testing.assert_close(summed.said, evidence(some, shares).said, atol=1e-5, rtol=1e-6)


def test_says_what_is_wrong() -> None:
    lm = ScriptedLM(["a", "7", "!!"], lambda text: {})
    with pytest.raises(WordError) as caught:
        pool(lm, Template.parse("{text} {mask}"))
    assert str(caught.value) == (
        "no token of scripted is a whole word at the slot of `{text} {mask}`\n\nhint: a word needs the blank it begins "
        "with: put one before {mask}, as in `It was {mask}`"
    )
    with pytest.raises(WordError, match="label words are searched for one slot"):
        pool(lm, Template.parse("{mask:a} {mask:b}"))
    with pytest.raises(DataError, match="there is no example to tell words by"):
        heard(prompt("{text} {mask}", {"a": "a", "b": "7"}), lm, [], torch.zeros(0, 2), {"a": 0})
