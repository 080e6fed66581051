from math import exp, log
from typing import Any

import pytest
import torch

from promptatlas.errors import CannotAttach, ModelError, TooLong
from promptatlas.lm.ask import Against, Decode, Given, Hidden, Job, Places, Tokens, Vocabulary
from promptatlas.lm.scripted import ScriptedLM
from promptatlas.text.template import Template

WORDS = ["red", "blue", "the", "sky", "is", "or"]


class Asked:
    """Answers that remember what was shown."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def __call__(self, text: str) -> dict[str, float]:
        self.texts.append(text)
        return {"red": log(0.25), "blue": log(0.75)}


def read(lm: ScriptedLM, template: str, *asks: Any, answer: tuple[int, ...] = (), width: int = 1) -> Any:
    runs = Template.parse(template).render({"what": "sky"})
    (row,) = lm.encode([runs], {}, widths={"": width}, room=len(answer))
    return lm.read([Job(row.then(answer), asks)])[0]


@pytest.mark.parametrize(
    ("kind", "template", "shown"),
    [
        ("masked", "the {what} is {mask} or red", "the sky is [MASK] or red"),
        ("causal", "the {what} is {mask}", "the sky is"),
        ("seq2seq", "the {what} is {mask} or red", "the sky is [MASK] or red >"),
    ],
)
def test_what_is_shown_and_what_comes_back(kind: Any, template: str, shown: str) -> None:
    asked = Asked()
    lm = ScriptedLM(WORDS, asked, kind=kind)
    tokens, massed, vocabulary = read(lm, template, Tokens((1, 0)), Tokens((0,), mass=True), Vocabulary())
    assert set(asked.texts) == {shown}
    assert tokens.total is None
    torch.testing.assert_close(tokens.values, torch.tensor([[log(0.75), log(0.25)]]))
    torch.testing.assert_close(massed.total, torch.zeros(1))
    assert vocabulary.values.exp().sum().item() == pytest.approx(1)
    assert vocabulary.values.shape == (1, len(lm.vectors))


@pytest.mark.parametrize(
    ("kind", "width", "texts"),
    [
        ("masked", 2, ["sky [MASK] _", "sky _ [MASK]"]),
        ("causal", 1, ["sky", "sky red"]),
        ("seq2seq", 1, ["sky [MASK] >", "sky [MASK] > red"]),
    ],
)
def test_an_answer_is_read_token_by_token(kind: Any, width: int, texts: list[str]) -> None:
    asked = Asked()
    (given,) = read(ScriptedLM(WORDS, asked, kind=kind), "{what} {mask}", Given(), answer=(0, 1), width=width)
    assert asked.texts == texts
    torch.testing.assert_close(given.values, torch.tensor([[log(0.25), log(0.75)]]))


def test_a_place_is_any_position() -> None:
    asked = Asked()
    (places,) = read(ScriptedLM(WORDS, asked), "the {what} is {mask}", Places((1, 3), (0, 1)))
    assert asked.texts == ["the [MASK] is _", "the sky is [MASK]"]
    torch.testing.assert_close(places.values.exp(), torch.tensor([[0.25, 0.75]]))


def test_states_are_the_embedding_of_the_text() -> None:
    lm = ScriptedLM(WORDS, Asked(), embedding=lambda text: (float(len(text.split())), 1.0))
    slot, mean = read(lm, "the {what} is {mask}", Hidden(), Hidden((-1, -2), "mean"))
    assert slot.values.tolist() == [[4.0, 1.0]]
    assert mean.values.tolist() == [[4.0, 1.0, 4.0, 1.0]]
    (learned,) = read(lm, "{what} {mask}", Against(torch.eye(2), torch.tensor([0.5, 0.0])))
    assert learned.values.tolist() == [[2.5, 1.0]]
    assert lm.embed(["a b", ""]).tolist() == [[2.0, 1.0], [0.0, 1.0]]
    assert lm.embed([]).shape == (0, 2)


def test_words_are_tokens_and_marks_in_a_text_are_not() -> None:
    lm = ScriptedLM(WORDS, Asked())
    assert lm.tokens("the red whale") == (2, 0, lm.ids["[UNK]"])
    assert lm.tokens("[MASK]") == (lm.ids["[UNK]"],)
    assert lm.text([2, lm.ids["[MASK]"], 0]) == "the red"
    assert lm.special == {6, 7, 8}


def written(kind: str, how: Decode) -> list[str]:
    """Texts of a model that says red, then blue, and then nothing."""

    def answers(text: str) -> dict[str, float]:
        last = text.split()[-1]
        return {"red": {"is": 0.0, "or": -2.0}, "is": {"blue": 0.0}, "or": {"blue": 0.0}, "blue": {}}.get(
            last, {"red": log(0.75), "blue": log(0.25)}
        )

    lm = ScriptedLM(WORDS, answers, kind=kind)
    (row,) = lm.encode([Template.parse("the sky {mask}").render({})], {})
    (found,) = lm.generate([Job(row, ())], how)
    for one in found:
        assert one.text == lm.text(one.ids) or how.stop
    return [one.text for one in found]


@pytest.mark.parametrize("kind", ["causal", "seq2seq"])
def test_it_writes_word_by_word_until_it_has_nothing_to_say(kind: str) -> None:
    assert written(kind, Decode(max_new=9)) == ["red is blue"]
    assert written(kind, Decode(max_new=2)) == ["red is"]
    assert written(kind, Decode(max_new=9, stop=("is",))) == ["red "]


def test_it_draws_by_seed_temperature_and_the_likeliest_words() -> None:
    drawn = Decode(max_new=9, temperature=1.0, n=40, seed=1)
    some = written("causal", drawn)
    assert set(some) == {"red is blue", "red or blue", "blue"}
    assert written("causal", drawn) == some
    assert written("causal", Decode(max_new=9, temperature=1.0, n=40, seed=2)) != some
    assert set(written("causal", Decode(max_new=9, temperature=1.0, n=40, top_k=1))) == {"red is blue"}
    assert set(written("causal", Decode(max_new=9, temperature=0.01, n=40))) == {"red is blue"}


def test_a_written_text_has_its_probability() -> None:
    lm = ScriptedLM(WORDS, lambda text: {} if "red" in text else {"red": log(0.25), "blue": log(0.75)}, kind="causal")
    (row,) = lm.encode([Template.parse("the {mask}").render({})], {})
    ((one,),) = lm.generate([Job(row, ())], Decode(max_new=2))
    assert (one.text, exp(one.logp)) == ("blue blue", pytest.approx(0.75**2))
    assert (lm.spent.passes, lm.spent.tokens) == (2, 1 + 1)


def test_what_a_script_can_not_do() -> None:
    lm = ScriptedLM(WORDS, Asked(), kind="causal", window=3)
    row = read(lm, "the {what} {mask}", Tokens((0,)), answer=(0,))
    assert exp(row[0].values.item()) == pytest.approx(0.25)
    with pytest.raises(TooLong, match="a row needs 4 positions, and the model has room for 3"):
        read(lm, "the {what} {mask}", Given(), answer=(0, 1))
    with pytest.raises(ModelError, match="writes no text"):
        ScriptedLM(WORDS, Asked()).generate([], Decode())
    with pytest.raises(ModelError, match="has no beams"):
        ScriptedLM(["a"], lambda _text: {}, kind="causal").generate([], Decode(beams=2))
    with pytest.raises(CannotAttach, match="has no attention"):
        lm.prefixes()
    with pytest.raises(CannotAttach, match="no projection `query`"):
        lm.places("query")
