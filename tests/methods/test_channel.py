"""Channel scoring: the paper's rule by hand, and what is turned."""

from collections.abc import Mapping
from math import log

import pytest

from promptatlas.data.example import Example
from promptatlas.data.task import Task
from promptatlas.demos.pick import Fixed, Random
from promptatlas.errors import NeedsError, SettingError, TemplateError, TooLong
from promptatlas.lm.scripted import ScriptedLM
from promptatlas.methods.channel import Channel
from promptatlas.methods.in_context import InContext
from promptatlas.prompting import Prompt
from promptatlas.prompting.make import prompt
from promptatlas.prompting.turn import turned
from promptatlas.score.slots import SlotWords
from promptatlas.testing.tasks import toy, toy_prompt
from promptatlas.testing.tiny import tiny
from promptatlas.text.template import Template

SAID: Mapping[str, Mapping[str, float]] = {
    "it is good :": {"fun": 0.5, "dull": 0.1}, "it is good : fun": {"film": 0.4},
    "it is bad :": {"fun": 0.2, "dull": 0.6}, "it is bad : fun": {"film": 0.5},
}  # fmt: skip
PROMPT = prompt("{text} it is {mask}", {"up": "good", "down": "bad"})
SAYING = Channel(template="it is {word!} : {mask}")
TASK = Task(
    name="t", kind="label", fields=("text", "title"), labels=("up", "down"),
    train=(Example({"text": "fun", "title": "a"}, "up", "1"), Example({"text": "dull", "title": "b"}, "down", "2")),
)  # fmt: skip


def scripted(shown: str = "") -> ScriptedLM:
    """What a text is likely to be behind a label, and behind demonstrations."""

    def answer(text: str) -> dict[str, float]:
        said = SAID[text.removeprefix(shown).strip()]
        return {word: log(share) for word, share in {**said, "rest": 1 - sum(said.values())}.items()}

    return ScriptedLM(["it", "is", "good", "bad", ":", "fun", "dull", "film", "rest"], answer, kind="causal")


def test_the_label_is_answered_that_makes_the_text_likeliest() -> None:
    """`fun film` is .5 x .4 behind good, .2 x .5 behind bad; `dull` .1 and .6."""
    made = SAYING.fit(scripted(), TASK, PROMPT)
    assert str(Channel().fit(scripted(), TASK, PROMPT).template) == "it is {word!|stop} {mask}"
    up, down = made.predict(scripted(), ["fun film", "dull"])
    assert (up.value, down.value) == ("up", "down")
    assert list(up.probabilities.values()) == pytest.approx((2 / 3, 1 / 3), abs=1e-6)
    assert list(down.probabilities.values()) == pytest.approx((1 / 7, 6 / 7), abs=1e-6)
    assert made.labels == ("up", "down")
    assert made.fields == ("text",)


def test_a_demonstration_shows_its_label_and_then_its_text() -> None:
    shown = Prompt(template=PROMPT.template, words=PROMPT.words, demos=Fixed(TASK.train))
    made = SAYING.fit(scripted(), TASK, shown)
    (line, _), _ = made.lines(scripted(), [Example({"text": "film"})])
    texts = "".join(getattr(run, "text", "") for run in made.reader(scripted()).runs(line))
    assert texts == "it is good : fun\n\nit is bad : dull\n\nit is good : "
    lm = scripted("it is good : fun it is bad : dull ")
    (answer,) = made.predict(lm, ["fun film"])
    assert list(answer.probabilities.values()) == pytest.approx((2 / 3, 1 / 3), abs=1e-6)


def test_no_example_is_shown_to_itself_and_all_its_rows_are_shown_the_same() -> None:
    made = SAYING.fit(scripted(), TASK, InContext(k=2).fit(scripted(), TASK, PROMPT))
    lines, _ = made.lines(scripted(), [TASK.train[0], Example({"text": "dull"})])
    assert [[one.target for one in line.demos] for line in lines[:2]] == [["dull"]] * 2
    assert len({tuple(one.key for one in line.demos) for line in lines[2:]}) == 1
    assert len(lines[2].demos) == 2


@pytest.mark.parametrize("family", ["llama", "gpt2", "t5"])
def test_scores_are_the_text_s_own_log_probabilities(family: str) -> None:
    lm, task = tiny(family), toy()
    made = Channel().fit(lm, task, toy_prompt())
    words = {label: toy_prompt().words.word(label) for label in task.labels}
    apart = []
    for word in words.values():
        scoring = Prompt(template=Template.parse(f"It was {word}. {{mask}}"), words=made.words, view=made.view)
        rows = scoring.lines(lm, task.test[:3])[0][:: len(words)]
        apart.append(scoring.reader(lm).fold(rows, mass=True)[:, 0])
    found = made.score(lm, task.test[:3])
    for at in range(3):
        told = [one[at] - apart[0][at] for one in apart]
        assert (found[at] - found[at, 0]).tolist() == pytest.approx([float(one) for one in told], abs=1e-4)


def test_other_fields_stay_where_they_are() -> None:
    two = prompt("{title} : {text} it is {mask} .", {"up": "good", "down": "bad"})
    made = Channel(field="text").fit(tiny("llama"), TASK, two)
    assert str(made.template) == "{title} : it is {word!} . {mask}"
    assert made.fields == ("title", "text")
    assert made.predict(tiny("llama"), [{"title": "the cat", "text": "sat"}])[0].value in TASK.labels
    with pytest.raises(TemplateError, match="shows several fields, `title`, `text`"):
        made.predict(tiny("llama"), ["the cat"])


def test_a_template_of_its_own_and_chinese() -> None:
    chinese = prompt("{text}很{mask}", {"up": "好", "down": "差"})
    assert str(Channel().fit(tiny("gpt2"), TASK, chinese).template) == "很{word!|stop} {mask}"
    assert str(turned(Template.parse("{text}。很{mask}。"), "text", "word")) == "很{word!}。 {mask}"
    made = Channel(template="很{word!}。{mask}").fit(tiny("gpt2"), TASK, chinese)
    assert str(made.template) == "很{word!}。{mask}"
    assert made.predict(tiny("gpt2"), ["电影很好看"])[0].value in TASK.labels


def test_what_cannot_be_turned_is_refused() -> None:
    lm, words = tiny("llama"), {"up": "good", "down": "bad"}
    for template, settings, told in (
        ("{text|lower} {mask}", {}, "is scored as it stands, without filters"),
        ("{title} {mask}", {"field": "text"}, "doesn't show `text`"),
        ("{text} {mask}", {"field": "texts"}, "`texts` is no field of `t`"),
        ("{text} {mask}", {"template": "It was {word!}"}, "doesn't show a label before the text of `text`"),
        ("{text} {mask}", {"template": "{text} It was {mask}"}, "doesn't show a label before the text"),
        ("{text} {mask}", {"shown": "title", "template": "{word!} {mask}"}, "doesn't show a label before the text"),
    ):
        with pytest.raises(SettingError, match=told):
            Channel(**settings).fit(lm, TASK, prompt(template, words))  # type: ignore[arg-type]
    drawn = Prompt(template=PROMPT.template, words=PROMPT.words, demos=Random(pool=TASK.train, k=1, seed=0, each=True))
    with pytest.raises(SettingError, match="drawn for each input") as caught:
        Channel().fit(lm, TASK, drawn)
    assert caught.value.hint == "show the same to all: in_context, each=False"
    slots = Prompt(
        template=Template.parse("{text} {mask:a} {mask:b}"),
        words=SlotWords(words={"up": ("a", "b"), "down": ("c", "d")}),
    )
    with pytest.raises(SettingError, match="has a word at each of several slots"):
        Channel().fit(lm, TASK, slots)
    with pytest.raises(NeedsError, match="needs a causal or seq2seq model"):
        Channel().fit(tiny("bert"), toy(), toy_prompt())
    made = Channel().fit(lm, toy(), toy_prompt())
    with pytest.raises(TooLong):
        made.predict(lm, ["the cat " * 300])
