import pytest

from promptatlas.data.example import Example
from promptatlas.data.task import Task
from promptatlas.data.view import Choices, One
from promptatlas.errors import DataError, TemplateError, WordError
from promptatlas.prompting import Prompt
from promptatlas.prompting.make import check_fit, prompt
from promptatlas.score.own import Own
from promptatlas.score.words import Words
from promptatlas.text.template import Template

TEXT = "{text} It was {mask}."
WORDS = {"good": "great", "bad": ["awful", "dull"]}


def task(kind: str = "label", fields: tuple[str, ...] = ("text",), labels: tuple[str, ...] = ("good", "bad")) -> Task:
    value = ("a", "b") if kind == "choice" else "a cup of tea"
    fields = (*fields, "choices") if kind == "choice" else fields
    target = "a" if kind == "choice" else labels[0]
    one = Example(dict.fromkeys(fields, value), target, "train:1")
    return Task(name="cups", kind=kind, fields=fields, labels=() if kind == "choice" else labels, train=(one,))


def test_words_may_be_one_or_several() -> None:
    made = prompt(TEXT, WORDS)
    assert made.words == Words(words={"good": ("great",), "bad": ("awful", "dull")})
    assert made.template == Template.parse(TEXT)
    assert isinstance(made.view, One)
    assert made.parts == {}
    assert made.history == ()


def test_a_verbalizer_and_a_template_are_taken_as_they_are() -> None:
    words = Words.of(WORDS, over_words="sum_prob")
    made = prompt(Template.parse(TEXT), words, between="\n")
    assert made.words is words
    assert str(made.between) == "\n"


def test_without_words_the_choices_are_the_answers() -> None:
    made = prompt("{text} {mask}")
    assert isinstance(made.view, Choices)
    assert isinstance(made.words, Own)
    assert made.labels == ()


@pytest.mark.parametrize("text", ["", "  \n"])
def test_an_empty_template_is_refused(text: str) -> None:
    with pytest.raises(TemplateError) as caught:
        prompt(text, WORDS)
    assert str(caught.value) == (
        'the template is empty\n\nhint: say where the text and the answer go: "{text} It was {mask}."'
    )


def test_no_words_at_all_are_refused() -> None:
    with pytest.raises(WordError, match="there are no labels"):
        prompt(TEXT, {})


def test_it_fits() -> None:
    check_fit(prompt(TEXT, WORDS), task())
    check_fit(prompt("{text} Option: {choice}. {mask}"), task("choice"))
    check_fit(prompt(TEXT, {**WORDS, "neither": "so"}), task())  # a label that never occurs does no harm


@pytest.mark.parametrize(
    ("made", "given", "message"),
    [
        (prompt("A cup: {txt} {mask}", WORDS), task(), "column 8 of `A cup: {txt} {mask}`: `cups` has no field `txt`"),
        (
            prompt("{{txt}} {txt!} {mask}", WORDS),
            task(),
            "column 9 of `{{txt}} {txt!} {mask}`: `cups` has no field `txt`",
        ),
    ],
)
def test_a_field_the_task_lacks(made: Prompt, given: Task, message: str) -> None:
    with pytest.raises(TemplateError) as caught:
        check_fit(made, given)
    assert str(caught.value) == f"{message}\n\nhint: did you mean `text`?"


def test_a_label_without_a_word() -> None:
    with pytest.raises(DataError) as caught:
        check_fit(prompt(TEXT, {"good": "great", "bat": "awful"}), task())
    assert str(caught.value) == "the label `bad` of `cups` has no word\n\nhint: did you mean `bat`?"


def test_labels_where_there_are_choices_and_the_other_way() -> None:
    with pytest.raises(DataError, match="brings its own choices"):
        check_fit(prompt(TEXT, WORDS), task("choice"))
    with pytest.raises(DataError, match="no words for them"):
        check_fit(prompt(TEXT), task())
