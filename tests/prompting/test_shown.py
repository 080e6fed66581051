"""How many demonstrations the window really holds."""

from dataclasses import replace

import pytest

from promptatlas.data.example import Example
from promptatlas.data.task import Task
from promptatlas.data.view import Choices
from promptatlas.demos.pick import Fixed
from promptatlas.errors import DataError, NeedsError
from promptatlas.lm.scripted import ScriptedLM
from promptatlas.methods.in_context import InContext
from promptatlas.prompting import Prompt
from promptatlas.prompting.make import prompt
from promptatlas.prompting.shown import counted, most, shown
from promptatlas.score.own import Own
from promptatlas.testing.tasks import toy, toy_prompt
from promptatlas.testing.tiny import tiny
from promptatlas.text.template import Template

WORDS = ("x", "y", "is", "yes", "no")
DEMOS = tuple(Example({"text": "x"}, "up", str(at)) for at in range(8))  # `x is yes`: three words each
PLAIN = prompt("{text} is {mask}", {"up": "yes", "down": "no"})


def lm(window: int) -> ScriptedLM:
    return ScriptedLM(WORDS, lambda text: {"yes": 0.0, "no": 0.0}, kind="causal", window=window)


def showing(k: int) -> Prompt:
    return replace(PLAIN, demos=Fixed(DEMOS[:k]))


def text(words: int) -> Example:
    return Example({"text": " ".join(["y"] * words)}, "up", f"q{words}")


def test_a_longer_text_leaves_room_for_fewer() -> None:
    """A row takes its words, `is`, and three words a demonstration."""
    assert shown(showing(4), lm(14), [text(1), text(2), text(4), text(10), text(13)]) == [4, 3, 3, 1, 0]
    assert shown(showing(4), lm(50), [text(1), text(30)]) == [4, 4]
    assert shown(PLAIN, lm(14), [text(1)]) == [0]


def test_the_longest_answer_counts() -> None:
    choices = Prompt(template=Template.parse("{text} is {mask}"), words=Own(), view=Choices(), demos=Fixed(DEMOS[:4]))
    short = Example({"text": "y", "choices": ("yes", "no")}, "no", "short")
    long = Example({"text": "y", "choices": ("yes", "no no no no")}, "yes", "long")
    assert shown(choices, lm(11), [short]) == [2]  # 2 of 11 for the row, and an answer of 1
    assert shown(choices, lm(11), [long]) == [1]  # or of 4


@pytest.mark.parametrize("family", ["bert", "gpt2", "t5"])
def test_what_is_counted_is_what_is_rendered(family: str) -> None:
    model, task = tiny(family), toy()
    start = replace(prompt("{text} It was {mask}", {"pets": "good", "weather": "bad"}), demos=Fixed(task.train[:30]))
    counts = shown(start, model, task.test[:8])
    reader = start.reader(model)
    rows = reader.encode(start.lines(model, task.test[:8])[0])
    assert counts == [row.demos() for row in rows]
    assert all(len(row) <= model.window for row in rows)
    assert 0 < min(counts) <= max(counts) < 30


def test_the_most_that_fit_before_half_of_the_texts() -> None:
    """Room for (14 - words - 1) // 3: 4, 3, 3, 1 and 0 of them."""
    some = [text(1), text(2), text(4), text(10), text(13)]
    assert most(showing, lm(14), some, 8) == 3
    assert most(showing, lm(14), some[:1], 8) == 4
    assert most(showing, lm(14), some[3:], 8) == 0
    assert most(showing, lm(400), some, 8) == 8
    assert most(showing, lm(400), some, 0) == 0


@pytest.mark.filterwarnings("ignore:.*lean to the labels that are shown")
def test_the_history_s_figures_and_an_error_where_none_fits() -> None:
    task = Task(name="long", kind="label", fields=("text",), labels=("up", "down"), train=(text(1), text(10)))
    assert counted(showing(4), lm(14), task, "some") == {"shown": 2.5, "fewest": 1, "looked": 2}
    assert counted(PLAIN, lm(14), task, "some") == {"shown": 0, "fewest": 0, "looked": 2}
    with pytest.raises(NeedsError) as error:
        counted(showing(4), lm(14), replace(task, train=(text(12), text(13))), "some")
    assert str(error.value) == (
        "`some` shows demonstrations, and the window of scripted, 14 tokens, has room for none before any of 2 texts "
        "of `long`\n\nhint: cut the template's fields, as {text|cut(200)} does, or take a model with a longer window"
    )


def test_a_label_that_nobody_can_be_shown_is_told() -> None:
    lm, task = tiny("gpt2"), toy()
    pets = replace(task, train=tuple(one for one in task.train if one.target == "pets"))
    with pytest.raises(DataError, match="no training example of `toy` with the label `weather`"):
        InContext(k=2).fit(lm, pets, toy_prompt())
    with pytest.warns(UserWarning, match="lean to the labels that are shown"):
        InContext(k=2, balanced=False).fit(lm, pets, toy_prompt())
