"""Domain-conditional PMI as a method; what it divides by is tested with the other calibrations."""

from dataclasses import replace
from math import log

import pytest

from promptatlas.data.example import Example
from promptatlas.data.task import Task
from promptatlas.data.view import Choices
from promptatlas.demos.pick import Fixed
from promptatlas.errors import SettingError, TemplateError
from promptatlas.lm.scripted import ScriptedLM
from promptatlas.methods.pmi import DomainPMI
from promptatlas.prompting import Prompt
from promptatlas.prompting.make import prompt
from promptatlas.score.domain import ending
from promptatlas.score.own import Own
from promptatlas.score.words import Words
from promptatlas.testing.tiny import tiny
from promptatlas.text.template import Template

ASKED, ALONE = (0.30, 0.20, 0.05), (0.60, 0.10, 0.05)
NAMES = ("a", "b", "c")
PROMPT = prompt("{text} so {mask}", {name: name for name in NAMES})
QUESTION = Example({"text": "q"}, "a", "1")
TASK = Task(name="t", kind="label", fields=("text",), labels=NAMES, train=(QUESTION,))
CHOICES = Prompt(template=Template.parse("{text} so {mask}"), words=Own(), view=Choices())


def scripted() -> ScriptedLM:
    """After a question and without one; after `b` comes `c` with .5."""

    def answer(text: str) -> dict[str, float]:
        if text.endswith("b"):
            return {"c": log(0.5), "rest": log(0.5)}
        shares = ASKED if "q" in text else ALONE
        return {name: log(one) for name, one in zip(NAMES, shares, strict=True)} | {"rest": log(1 - sum(shares))}

    return ScriptedLM(["q", "so", *NAMES, "rest"], answer, kind="causal")


def test_the_paper_s_rule_by_hand() -> None:
    learned = DomainPMI().fit(scripted(), TASK, PROMPT)
    assert PROMPT.predict(scripted(), ["q"])[0].value == "a"
    (answer,) = learned.predict(scripted(), ["q"])
    assert answer.value == "b"
    assert list(answer.probabilities.values()) == pytest.approx((0.142857, 0.571429, 0.285714), abs=1e-5)
    assert "only rank" in answer.why


def test_the_history_says_what_frequent_words_take() -> None:
    figures = DomainPMI().fit(scripted(), TASK, PROMPT).history[-1].figures
    assert figures == {
        "domain": " so {mask}", "changed": 1.0, "looked": 1, "domain a": 0.6, "domain b": 0.1, "domain c": 0.05,
    }  # fmt: skip
    assert DomainPMI(looked=0).fit(scripted(), TASK, PROMPT).history[-1].figures.keys() == figures.keys() - {
        "changed",
        "looked",
    }


def test_what_the_domain_itself_says_is_a_tie_and_the_first_answers() -> None:
    learned = DomainPMI().fit(scripted(), TASK, PROMPT)
    (answer,) = learned.predict(scripted(), [""])
    assert list(answer.probabilities.values()) == pytest.approx([1 / 3] * 3, abs=1e-6)
    assert answer.value == "a"


def test_choices_are_not_divided_by_their_length() -> None:
    """`b c` after the question is .2 x .5, in the domain .1 x .5; `a` is .3 and .6."""
    example = Example({"text": "q", "choices": ("a", "b c")}, "b c", "1")
    task = Task(name="t", kind="choice", fields=("text", "choices"), train=(example,))
    for over in ("sum", "mean"):
        start = replace(CHOICES, words=Own(over_tokens=over))  # type: ignore[arg-type]
        learned = DomainPMI().fit(scripted(), task, start)
        (answer,) = learned.predict(scripted(), [example])
        assert list(answer.probabilities.values()) == pytest.approx((0.2, 0.8), abs=1e-5)
        assert learned.history[-1].figures == {"domain": " so {mask}", "changed": 1.0, "looked": 1}
        assert CHOICES.predict(scripted(), [example])[0].value == "a"


def test_a_label_s_forms_are_added() -> None:
    two = prompt("{text} so {mask}", {"ab": ["a", "b"], "c": "c"})
    task = replace(TASK, labels=("ab", "c"), train=(replace(QUESTION, target="ab"),))
    (answer,) = DomainPMI().fit(scripted(), task, two).predict(scripted(), ["q"])
    odds = (0.5 / 0.7, 1.0)
    assert list(answer.probabilities.values()) == pytest.approx([one / sum(odds) for one in odds], abs=1e-5)
    assert isinstance(two.words, Words)
    assert two.words.over_words == "mean_logit"  # the prompt that was given stays


def test_demonstrations_stand_before_the_question_alone() -> None:
    shown = replace(PROMPT, demos=Fixed((Example({"text": "q"}, "c", "2"),)))
    figures = DomainPMI().fit(scripted(), TASK, shown).history[-1].figures
    assert figures["domain a"] == 0.6  # with the demonstration's question before it it would be .3
    learned = DomainPMI().fit(scripted(), TASK, shown)
    assert list(learned.predict(scripted(), ["q"])[0].probabilities.values())[1] == pytest.approx(0.571429, abs=1e-5)


@pytest.mark.parametrize(
    ("template", "domain"),
    [
        ("{text} It was {mask}.", " It was {mask}."),
        ("{start}{@soft}Q: {question} 答案：{mask}{end}", " 答案：{mask}"),
        ("{mask} news: {text}", "{mask} news: "),
        ("Topics.\n{demos}{title} {text}\n topic:{mask}", "\n topic:{mask}"),
        ("{text}{mask}", "{mask}"),
    ],
)
def test_the_domain_is_the_template_s_end(template: str, domain: str) -> None:
    assert str(ending(Template.parse(template))) == domain


@pytest.mark.parametrize("family", ["bert", "gpt2", "t5"])
def test_a_domain_of_nothing_is_read_too(family: str) -> None:
    start = prompt("{text}{mask}", {"a": "good", "b": "bad", "c": "cat"})
    learned = DomainPMI().fit(tiny(family), replace(TASK, train=(Example({"text": "the cat"}, "a", "1"),)), start)
    assert learned.history[-1].figures["domain"] == "{mask}"


def test_a_domain_may_show_a_field_that_is_not_the_question() -> None:
    start = prompt("{text} {link}{mask}", {name: name for name in NAMES})
    example = Example({"text": "q", "link": "so "}, "a", "1")
    learned = DomainPMI(domain="{link}{mask}").fit(scripted(), replace(TASK, train=(example,)), start)
    assert learned.predict(scripted(), [example])[0].value == "b"
    assert learned.history[-1].figures.keys() == {"domain", "changed", "looked"}


def test_what_is_no_domain() -> None:
    with pytest.raises(TemplateError, match="the domain `so` has no slot"):
        DomainPMI(domain="so").fit(scripted(), TASK, PROMPT)
    for domain in ("{text} so {mask}", "so {mask:other}"):
        with pytest.raises(SettingError) as caught:
            DomainPMI(domain=domain).fit(scripted(), TASK, PROMPT)
        assert str(caught.value) == (
            f"`{domain}` is no domain of `{{text}} so {{mask}}`\n\n"
            "hint: give the same slot, and leave the question out: domain=..."
        )
