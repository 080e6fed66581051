"""Where a searched part goes in a template."""

import pytest

from promptatlas.errors import SettingError, TemplateError
from promptatlas.search.place import beginning, placed
from promptatlas.testing.tiny import tiny
from promptatlas.text.template import Template


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("{text} It was {mask}.", "{text} It was{@t} {mask}."),
        ("{text} {mask}", "{text}{@t} {mask}"),
        ("{text}{mask:a}", "{text}{@t}{mask:a}"),
        ("这是{mask}。{text}", "这是{@t}{mask}。{text}"),
        ("{text} {@t} was {mask}", "{text} {@t} was {mask}"),
        ("{@t}{text} {mask}", "{start}{@t}{text} {mask}"),
        ("{@soft}{@t}{text} {mask}", "{@soft}{start}{@t}{text} {mask}"),
        ("{start}{@t}{text} {mask}", "{start}{@t}{text} {mask}"),
        ("{mask} {text}", "{start}{@t}{mask} {text}"),
    ],
)
def test_a_part_goes_before_the_slot_unless_it_has_a_place(given: str, expected: str) -> None:
    found = placed(Template.parse(given), "t")
    assert str(found) == expected
    assert placed(found, "t") == found


def test_a_word_is_read_as_it_was_before_the_part_came() -> None:
    lm, plain = tiny("roberta"), Template.parse("{text} It was {mask}.")
    assert lm.word("good", placed(plain, "t").before()) == lm.word("good", plain.before())


@pytest.mark.parametrize(("given", "slots"), [("{text}", 0), ("{text} {mask:a} {mask:b}", 2)])
def test_one_slot_is_needed(given: str, slots: int) -> None:
    with pytest.raises(TemplateError, match=f"tokens are searched for one slot, and `.*` has {slots}"):
        placed(Template.parse(given), "t")


def test_a_search_starts_from_masks_or_from_a_text() -> None:
    lm, template = tiny("roberta"), placed(Template.parse("{text} It was {mask}."), "t")
    assert beginning(lm, template, 3).ids == (lm.mask,) * 3
    assert lm.text(beginning(lm, template, 2, "a good").ids) == " a good"


def test_a_model_without_a_mask_starts_from_the() -> None:
    lm, template = tiny("gpt2"), placed(Template.parse("{text} It was {mask}"), "t")
    assert beginning(lm, template, 2).ids == lm.tokens(" the")[:1] * 2


def test_a_text_of_another_length_is_an_error_with_both_counts() -> None:
    template = placed(Template.parse("{text} It was {mask}."), "t")
    with pytest.raises(SettingError) as caught:
        beginning(tiny("bert"), template, 3, "a good")
    assert str(caught.value) == (
        "`a good` is 2 tokens in tiny-bert, `a` `good`, and 3 are searched for\n\n"
        "hint: set length=2, or start from other words"
    )


def test_nothing_to_search_for_is_an_error() -> None:
    with pytest.raises(SettingError, match="`length` is 0"):
        beginning(tiny("bert"), placed(Template.parse("{text} {mask}"), "t"), 0)
