"""Answers read off texts that reason first."""

import pytest

from promptatlas.errors import SettingError
from promptatlas.text.pattern import Pattern, numeral
from promptatlas.text.scripts import joined


@pytest.mark.parametrize(
    ("kind", "text", "answer"),
    [  # sheet 48, oracle 5
        ("number", "The answer is 1,234.", "1234"),
        ("number", "The answer is 3.5.", "3.5"),
        ("number", "The answer is -7", "-7"),
        ("number", "So the answer is $18.00", "18"),
        ("number", "So it's 7", "7"),
        ("option", "(B)", "B"),
        ("number", "", None),
        ("option", "", None),
        ("text", "", None),
    ],
)
def test_the_table_of_the_sheet(kind: str, text: str, answer: str | None) -> None:
    assert Pattern.of(kind).read(text) == answer


@pytest.mark.parametrize(
    ("kind", "text", "answer"),
    [
        ("number", "the answer is 5. No: the ANSWER IS 6, and 9 are left", "6"),  # the last that is said
        ("number", "10-7 are 3 and 5 more", "5"),
        ("number", "so 10-7", "7"),  # no minus
        ("number", "no idea", None),
        ("option", "The answer is (b).", "B"),
        ("option", "A dog has 4 legs, so the answer is C", "C"),
        ("option", "The answer is a dog", None),
        ("option", "A dog has 4 legs", None),
        ("text", "The answer is New  York. It is large.", "New York"),
        ("text", "the answer is: 3.5 miles", "3.5 miles"),
        ("text", "it is large", None),
    ],
)
def test_what_is_read(kind: str, text: str, answer: str | None) -> None:
    assert Pattern.of(kind).read(text) == answer


@pytest.mark.parametrize(
    ("kind", "text", "answer"),
    [("number", " 18. He has 3 left", "18"), ("option", " B, not (C)", "B"), ("text", " yes. Or no.", "yes")],
)
def test_the_first_counts_where_the_text_answers_a_question_for_it(kind: str, text: str, answer: str) -> None:
    assert Pattern.of(kind, alone=True).read(text) == answer


def test_an_expression_of_ones_own() -> None:
    assert Pattern.of("number", r"答案是(\S+)元").read("三个，所以答案是１，２００元。") == "1200"
    assert Pattern.of("text", r"[a-z]+").read("one two") == "two"  # without groups all of it
    assert Pattern.of("text", r"x=(a)|y=(b)").read("x=a, y=b") == "b"  # the group that takes part
    assert Pattern.of("number", r"= (\d+)").read("3 + 4 is 7") is None  # nothing else is tried


@pytest.mark.parametrize("text", ["(", "a{2,1}", "(?P<x>", "*"])
def test_what_does_not_compile_is_refused_at_once(text: str) -> None:
    with pytest.raises(SettingError) as caught:
        Pattern.of("number", text)
    assert str(caught.value).startswith(f"`{text}` is no regular expression: ")
    hint = "it is written in Python's syntax; its first group that takes part in a match is the answer"
    assert caught.value.hint == hint


def test_an_empty_expression_is_refused() -> None:
    with pytest.raises(SettingError, match="the pattern of an answer is empty"):
        Pattern("text", "")


def test_a_number_is_written_in_one_way() -> None:
    same = ["18", "18.0", "$18", "18.00", "0018", "１８", "18.", "18 %"]
    assert {numeral(text) for text in same} == {"18"}
    assert [numeral(text) for text in ("1,234", "-0.50", "-0", "0.0", "-$7")] == ["1234", "-0.5", "0", "0", "-7"]
    assert [numeral(text) for text in ("", "18 of 20", "eight", "18kg")] == [None] * 4
    many = "12345678901234567890123456789012345"
    assert numeral(many) == many  # no float on the way


def test_texts_are_joined_as_their_script_has_it() -> None:
    assert joined("A:", "So") == "A: So"
    assert joined("A: ", "So") == "A: So"
    assert joined("答：", "所以") == "答：所以"
    assert joined("", "So") == "So"
