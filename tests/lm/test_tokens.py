import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.lm.rows import row

from promptatlas.testing.tiny import tiny
from promptatlas.text.runs import Before
from promptatlas.text.template import Template

WORDS = ("great", "unbelievable", "bad", "the", "unfortunate", "N/A", "电影")


@pytest.mark.parametrize(
    ("name", "piece"), [("bert", "great"), ("gpt2", "Ġgreat"), ("roberta", "Ġgreat"), ("t5", "▁great")]
)
def test_a_word_after_a_blank_is_the_piece_with_the_blank(name: str, piece: str) -> None:
    lm = tiny(name)
    for template in ("{text} It was {mask}", "{text} {mask}", "It was  {mask}".replace("  ", " ")):
        assert lm.pieces(lm.word("great", Template.parse(template).before())) == [piece]


def test_a_word_at_the_beginning_has_no_blank() -> None:
    lm = tiny("gpt2")
    assert lm.word("great", Template.parse("{mask}").before()) == lm.tokens("great")
    assert lm.word("great", Template.parse("{text}({mask}").before()) == lm.tokens("great")


@pytest.mark.parametrize("name", ["gpt2", "llama"])
@given(
    text=st.text("the cat,.!?\n电影🎬 ", max_size=12),
    word=st.sampled_from(WORDS),
    between=st.sampled_from((" It was ", ": ", " ")),
)
@settings(max_examples=20, deadline=None)
def test_a_row_and_a_word_are_the_text_with_the_word(name: str, text: str, word: str, between: str) -> None:
    lm = tiny(name)
    text = text.strip() or "a"
    template = "{text}" + between + "{mask}"
    one = row(lm, template, text=text)
    assert (*one.ids, *lm.word(word, Template.parse(template).before())) == row(
        lm, "{text}", text=text + between + word
    ).ids


@pytest.mark.parametrize("name", ["bert", "roberta", "modernbert"])
@pytest.mark.parametrize("word", WORDS)
def test_a_word_stands_where_its_masks_stood(name: str, word: str) -> None:
    lm = tiny(name)
    ids = lm.word(word, Template.parse("{text} It was {mask}.").before())
    one = row(lm, "{text} It was {mask}.", width=len(ids), text="the cat")
    first = one.slots[0].positions[0]
    filled = (*one.ids[:first], *ids, *one.ids[first + len(ids) :])
    assert filled == row(lm, "{text}", text=f"the cat It was {word}.").ids


def test_a_word_that_merges_with_what_stands_before_goes_on_whole() -> None:
    lm = tiny("gpt2")
    left, word = "It wa", "s good"
    assert lm.tokens(left + word)[: len(lm.tokens(left))] != lm.tokens(left)  # they merge
    found = lm.word(word, Before(left, start=True))
    assert lm.text(found) == word


def test_a_blank_word_and_marks_in_words_are_text() -> None:
    lm = tiny("t5")
    assert lm.word("", Before(" It was ")) == () or lm.text(lm.word("", Before(" It was "))).strip() == ""
    assert not set(lm.word("</s>", Before(" It was "))) & lm.tokenizer.marks


def test_a_tokenizers_identity_is_its_content() -> None:
    assert tiny("gpt2").identity["tokenizer"] == tiny("gpt2", seed=1).identity["tokenizer"]
    assert tiny("gpt2").identity["tokenizer"] != tiny("opt").identity["tokenizer"]
