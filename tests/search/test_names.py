"""Words out of names."""

import math

import pytest
import torch

from promptatlas.errors import WordError
from promptatlas.lm.scripted import ScriptedLM
from promptatlas.prompting.make import prompt
from promptatlas.search.names import guessed, levelled_prior, nearest, own_words, shift
from promptatlas.testing.tiny import tiny
from promptatlas.text.template import Template

TEMPLATE = Template.parse("{text} {mask}")


def test_a_name_s_parts_are_its_words_in_the_case_the_model_has() -> None:
    lm = ScriptedLM(["sports", "science", "Tech", "world", "news"], lambda text: {})
    found = own_words(lm, ("Sports", "Science/Tech", "world_news", "news"), TEMPLATE)
    assert dict(found.words) == {
        "Sports": ("sports",),
        "Science/Tech": ("science", "Tech"),
        "world_news": ("world",),  # `news` is another label's too
        "news": ("news",),
    }
    with pytest.raises(WordError) as caught:
        own_words(lm, ("Sports", "Politics"), TEMPLATE)
    assert str(caught.value) == "scripted can't read the name of label `Politics`\n\nhint: give the label words"


def test_chinese_names_are_read_whole() -> None:
    lm, template = tiny("bert"), Template.parse("{text}很{mask}")
    found = own_words(lm, ("很好", "太差"), template)
    assert dict(found.words) == {"很好": ("很好",), "太差": ("太差",)}
    assert all(len(ids) == 2 for some in found.tokens(lm, template).values() for ids in some)


def test_a_shift_makes_labels_equally_common() -> None:
    scores = torch.randn(40, 3, generator=torch.Generator().manual_seed(0)).double() + torch.tensor([0.0, 3.0, -1.0])
    for temperature in (1.0, 0.5):
        shares = ((scores - shift(scores, temperature)) / temperature).softmax(1)
        torch.testing.assert_close(shares.mean(0), torch.full((3,), 1 / 3).double(), atol=1e-4, rtol=0)
        assert (shares.argmax(1) != scores.argmax(1)).any()


def test_guesses_go_by_what_differs_between_texts() -> None:
    """A label that is said everywhere is not found everywhere."""
    said = {"x": (0.9, 0.1), "y": (0.6, 0.4)}
    lm = ScriptedLM(
        ["yes", "no", "x", "y"], lambda text: dict(zip(("yes", "no"), map(math.log, said[text[0]]), strict=True))
    )
    asked = prompt(TEMPLATE, {"a": "yes", "b": "no"})
    texts = asked.examples(["x", "y"])
    shares = guessed(asked, lm, texts, 1.0)
    assert shares.argmax(1).tolist() == [0, 1]
    divide = levelled_prior(asked, lm, texts)
    plain = divide.apply(asked.mass(lm, texts), None)
    torch.testing.assert_close(plain.exp(), shares.float(), atol=1e-5, rtol=0)


def test_near_vectors_are_near_the_own_name_and_not_the_others() -> None:
    lm = tiny("bert")
    words = {word: lm.word(word, TEMPLATE.before())[0] for word in ("great", "terrible", "the", "cat")}
    found = nearest(lm, own_words(lm, ("great", "cat"), TEMPLATE), TEMPLATE, words)
    assert found.argmax(1).tolist() == [0, 3]
    torch.testing.assert_close(found.sum(0), torch.zeros(4).double(), atol=1e-6, rtol=0)
