import pytest

from promptatlas.errors import SettingError, TemplateError, WordError
from promptatlas.text.compose import Rules, compose, phrases, spelled
from promptatlas.text.template import Template

PROMPTS = ("{text}", " The {mask:a} {head!}", " {mask:b} {mask:c}", " the {mask:d} {tail!}.")


def test_sub_prompts_are_joined_as_they_are_written() -> None:
    assert compose(PROMPTS) == Template.parse("".join(PROMPTS))
    assert compose(()) == Template()


def test_slots_of_one_name_are_told_apart() -> None:
    made = compose(("{mask} of {mask:slot_2}", "{mask} {mask:a}", "{mask:a} {mask}"))
    assert made.slots == ("", "slot_2", "slot_3", "a", "a_2", "slot_4")
    assert Template.parse(str(made)) == made


@pytest.mark.parametrize(
    "rule",
    [
        ("person", "born in", "city"),
        "person born in city",
        ("person", "born", "in", "city"),
        ["person born in", "city"],
    ],
)
def test_the_words_of_phrases_stand_at_the_slots_in_order(rule: object) -> None:
    assert Rules.of(PROMPTS, {"x": rule}).words == {"x": ("person", "born", "in", "city")}  # type: ignore[dict-item]


def test_chinese_words_are_given_one_by_one() -> None:
    assert Rules.of(("{text}{mask:a}{head!}", "{mask:b}{mask:c}"), {"x": ("人", "生", "于")}).words["x"] == (
        "人",
        "生",
        "于",
    )


def test_a_reversed_label_says_the_words_backwards() -> None:
    rules = {"child": {"reversed": "parent"}, "parent": ("adult", "parent of", "child")}
    made = Rules.of(PROMPTS, rules)  # type: ignore[arg-type]
    assert list(made.words) == ["child", "parent"]
    assert made.words["child"] == ("child", "of", "parent", "adult")
    assert spelled(phrases(rules)["child"]) == made.words["child"]  # type: ignore[arg-type]


def test_a_rule_over_slots_there_are_not_is_one_clear_error() -> None:
    with pytest.raises(WordError) as caught:
        Rules.of(PROMPTS, {"x": ("person", "was born in", "city")})
    assert caught.value.message == (
        "the rule of `x` has the words `was born in` for the slots of ` {mask:b} {mask:c}`, which are 2"
    )
    with pytest.raises(WordError, match="the rule of `x` has 2 words, `person city`, and the sub-prompts have 4 slots"):
        Rules.of(PROMPTS, {"x": "person city"})


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"reversed": "z"}, "the rule of `y` reverses `z`, which has no words of its own"),
        ({"reversed": "y"}, "the rule of `y` reverses `y`, which has no words of its own"),
        ({"swapped": "x"}, r"the rule of `y` is \{'swapped': 'x'\}"),
    ],
)
def test_what_can_not_be_reversed(rule: dict[str, str], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        Rules.of(PROMPTS, {"x": "person born in city", "y": rule})


def test_a_sub_prompt_that_can_not_be_read() -> None:
    with pytest.raises(TemplateError, match=r"`\{` is never closed"):
        compose(("{text}", "{mask"))
