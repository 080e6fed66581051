"""What each filter makes of a value, and what it refuses."""

import datetime
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptatlas.errors import TemplateError
from promptatlas.text.filters import FILTERS, MARKS, Filter, items, shown


@pytest.mark.parametrize(
    ("written", "text", "result"),
    [
        ("lower", "ÀB c", "àb c"),
        ("lower", "ABC电影", "abc电影"),
        ("upper", "straße", "STRASSE"),
        ("capital", "the Film", "The Film"),
        ("capital", " the film", " the film"),
        ("capital", "", ""),
        ("uncapital", "The Film", "the Film"),
        ("uncapital", "电影", "电影"),
        ("strip", " \n a b\u3000", "a b"),
        (("cut", 3), "abcdef", "abc"),
        (("cut", 3), "ab", "ab"),
        (("cut", 2), "🎬🎬🎬", "🎬🎬"),
        (("cut", 2), "电影很好", "电影"),
        (("words", 2), "one  two\nthree", "one  two"),
        (("words", 2), " one two three", " one two"),
        (("words", 3), "one two ", "one two "),
        (("words", 1), "", ""),
        (("words", 1), "  ", "  "),
        ("stop", "fine", "fine."),
        ("stop", "fine ", "fine."),
        ("stop", "fine!", "fine!"),
        ("stop", "fine. ", "fine. "),
        ("stop", "很好", "很好。"),
        ("stop", "很好！", "很好！"),
        ("stop", "票价100", "票价100。"),
        ("stop", "好 film", "好 film."),
        ("stop", "すごい", "すごい。"),
        ("stop", "좋다", "좋다."),
        ("stop", "100", "100."),
        ("stop", "", ""),
        ("stop", " ", " "),
        ("unstop", "fine.", "fine"),
        ("unstop", "fine...", "fine.."),
        ("unstop", "fine . ", "fine "),
        ("unstop", "fine, ", "fine, "),
        ("unstop", "好吗？", "好吗"),
        ("unstop", "", ""),
    ],
)
def test_filters_of_texts(written: str | tuple[str, int], text: str, result: str) -> None:
    one = Filter(written) if isinstance(written, str) else Filter(*written)
    assert shown("text", text, (one,)) == result


@given(st.text())
def test_stop_and_unstop_undo_each_other(text: str) -> None:
    stop, unstop = Filter("stop"), Filter("unstop")
    stopped = shown("text", text, (stop,))
    assert shown("text", stopped, (stop,)) == stopped
    assert not text.strip() or stopped.rstrip().endswith(MARKS)
    if text.strip() and not text.rstrip().endswith(MARKS):
        assert shown("text", stopped, (unstop,)) == text.rstrip()


@given(st.text(), st.integers(1, 9))
def test_words_keeps_a_beginning_of_so_many_words(text: str, most: int) -> None:
    kept = shown("text", text, (Filter("words", most),))
    assert text.startswith(kept)
    assert len(kept.split()) == min(most, len(text.split()))


def test_filters_go_from_left_to_right() -> None:
    assert shown("text", "Ab", (Filter("cut", 1), Filter("lower"))) == "a"
    assert shown("text", " ab", (Filter("cut", 2), Filter("strip"))) == "a"
    assert shown("text", " ab", (Filter("strip"), Filter("cut", 2))) == "ab"
    assert shown("cast", ["A", "B"], (Filter("json"), Filter("lower"))) == '["a","b"]'


@pytest.mark.parametrize(
    ("value", "text"),
    [("", ""), ("{mask}", "{mask}"), (3, "3"), (-1, "-1"), (2.50, "2.5"), (1e20, "1e+20")],
)
def test_texts_and_numbers_need_no_filter(value: object, text: str) -> None:
    assert shown("text", value) == text


def test_numbers_may_have_filters_of_texts() -> None:
    assert shown("year", 1999, (Filter("cut", 2),)) == "19"


@pytest.mark.parametrize(
    ("value", "between", "text"),
    [
        (["a", "b"], ", ", "a, b"),
        (("a", "b"), "", "ab"),
        (["a", 1, 2.5], "\n", "a\n1\n2.5"),
        ([], ", ", ""),
        (["一", "二"], "、", "一、二"),
    ],
)
def test_join(value: object, between: str, text: str) -> None:
    assert shown("cast", value, (Filter("join", between),)) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"名": "电影", "n": [1, 2.5, None, True]}, '{"名":"电影","n":[1,2.5,null,true]}'),
        (["a", "b"], '["a","b"]'),
        ("a\n", '"a\\n"'),
        (False, "false"),
    ],
)
def test_json(value: object, text: str) -> None:
    assert shown("meta", value, (Filter("json"),)) == text


@pytest.mark.parametrize(
    ("value", "filters", "message"),
    [
        (
            ["a"],
            (),
            'field `x` is of type `list`, not a text\n\nhint: show it by `{x|join(", ")}` or `{x|json}`',
        ),
        (
            ("a",),
            (Filter("lower"),),
            'field `x` is of type `tuple`, not a text\n\nhint: show it by `{x|join(", ")}` or `{x|json}`',
        ),
        ({"a": 1}, (), "field `x` is of type `dict`, not a text\n\nhint: show it by `{x|json}`"),
        (True, (), "field `x` is of type `bool`, not a text\n\nhint: show it by `{x|json}`"),
        (b"a", (Filter("upper"),), "field `x` is of type `bytes`, not a text\n\nhint: show it by `{x|json}`"),
        (
            "a",
            (Filter("join", ","),),
            "field `x` is of type `str`, not a list\n\nhint: `join` reads a list of texts and numbers",
        ),
        (
            ["a", None],
            (Filter("join", ","),),
            "item 2 of field `x` is of type `NoneType`, not a text\n\nhint: `join` reads a list of texts and numbers",
        ),
        (
            datetime.date(2020, 1, 1),
            (Filter("json"),),
            "field `x` can't be written as JSON: Object of type date is not JSON serializable\n\n"
            "hint: JSON has texts, numbers, true, false, null, lists, and objects named by texts",
        ),
    ],
)
def test_refused_values(value: object, filters: tuple[Filter, ...], message: str) -> None:
    with pytest.raises(TemplateError) as caught:
        shown("x", value, filters)
    assert str(caught.value) == message


def test_json_refuses_what_json_has_no_word_for() -> None:
    round_and_round: list[object] = []
    round_and_round.append(round_and_round)
    for value in (math.nan, [math.inf], round_and_round):
        with pytest.raises(TemplateError, match=r"^field `x` can't be written as JSON: "):
            shown("x", value, (Filter("json"),))


def test_items() -> None:
    assert items("tokens", ["Rain", "in", 1999]) == ("Rain", "in", "1999")
    assert items("tokens", ()) == ()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("a b", "field `tokens` is of type `str`, not a list\n\nhint: `:each` reads a list of texts and numbers"),
        (
            ["a", ["b"]],
            "item 2 of field `tokens` is of type `list`, not a text\n\nhint: `:each` reads a list of texts and numbers",
        ),
        (["a", " "], "item 2 of field `tokens` is blank\n\nhint: drop it, and its tag, where the data is read"),
    ],
)
def test_refused_items(value: object, message: str) -> None:
    with pytest.raises(TemplateError) as caught:
        items("tokens", value)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("name", "argument", "message"),
    [
        ("lowr", None, "there is no filter `lowr`\n\nhint: did you mean `lower`?"),
        (
            "zzz",
            None,
            "there is no filter `zzz`\n\nhint: there are `capital`, `cut`, `join`, `json`, `lower`, `stop`, `strip`, "
            "`uncapital`, `unstop`, `upper`, `words`",
        ),
        ("lower", 1, "`lower` takes nothing in parentheses\n\nhint: write `lower`"),
        ("cut", None, "`cut` takes a whole number from 1 to 999999999, not nothing\n\nhint: as in `cut(40)`"),
        ("cut", 0, "`cut` takes a whole number from 1 to 999999999, not `0`\n\nhint: as in `cut(40)`"),
        ("cut", 10**9, "`cut` takes a whole number from 1 to 999999999, not `1000000000`\n\nhint: as in `cut(40)`"),
        ("words", True, "`words` takes a whole number from 1 to 999999999, not `True`\n\nhint: as in `words(20)`"),
        ("words", "2", '`words` takes a whole number from 1 to 999999999, not `"2"`\n\nhint: as in `words(20)`'),
        ("join", 2, '`join` takes a text in double quotes, not `2`\n\nhint: as in `join(", ")`'),
    ],
)
def test_refused_arguments(name: str, argument: int | str | None, message: str) -> None:
    with pytest.raises(TemplateError) as caught:
        Filter(name, argument)
    assert str(caught.value) == message


def test_every_filter_says_how_it_is_written() -> None:
    for name, kind in FILTERS.items():
        assert kind.written.partition("(")[0] == name
        assert ("(" in kind.written) == (kind.argument is not None)
