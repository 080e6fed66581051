"""The template language: what is read, what is refused and where, what is rendered."""

import dataclasses
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from promptatlas.errors import TemplateError
from promptatlas.text.filters import FILTERS, MOST, Filter
from promptatlas.text.pieces import (
    MARKS,
    RESERVED,
    DemosPiece,
    EachPiece,
    FieldPiece,
    LabelPiece,
    MarkPiece,
    PartPiece,
    Piece,
    SlotPiece,
    TextPiece,
)
from promptatlas.text.runs import Before, ItemsRun, MarkRun, PartRun, Runs, SlotRun, TextRun
from promptatlas.text.template import Shown, Template

INSIDE = (
    "braces hold a field's name, `mask`, `@` and a part's name, `demos`, `label`, `start`, `sep` or `end`, "
    "write `{{` for a brace that is text"
)
CLOSE = "close it with `}`, or write `{{` for a brace that is text"
NAME = "a name is letters of any script, digits and `_`, no digit first; rename a column where the data is read"
BLANK = "there are no blanks inside braces"
COUNT = "a whole number from 1 to 999999999"
AFTER_BAR = (
    "after `|` stands a filter: there are `capital`, `cut`, `join`, `json`, `lower`, `stop`, `strip`, `uncapital`, "
    "`unstop`, `upper`, `words`"
)
ESCAPES = 'there are `\\"`, `\\\\`, `\\n` and `\\t`'
EACH = "`{tokens:each}` is a slot at every item of a list"
LENGTH = "a part's length and settings are its own; the template says where it stands"
NAMED = "name each slot, as in `{mask:a}` and `{mask:b}`"


def reserved(name: str) -> str:
    return f"`{name}` is a word of the template language; a column of that name is renamed where the data is read"


# -- what is read


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("", ()),
        ("no braces", (TextPiece("no braces"),)),
        ("{text}", (FieldPiece("text"),)),
        ("{text!}", (FieldPiece("text", keep=True),)),
        ("{text|lower|cut(40)}", (FieldPiece("text", filters=(Filter("lower"), Filter("cut", 40))),)),
        ("{text!|lower}", (FieldPiece("text", True, (Filter("lower"),)),)),
        ('{a|join(", ")}', (FieldPiece("a", filters=(Filter("join", ", "),)),)),
        ('{a|join("")}', (FieldPiece("a", filters=(Filter("join", ""),)),)),
        (r'{a|join("\"\\\n\t")}', (FieldPiece("a", filters=(Filter("join", '"\\\n\t'),)),)),
        (r'{a|join("\\n")}', (FieldPiece("a", filters=(Filter("join", "\\n"),)),)),
        ('{a|join("}{|(")}.', (FieldPiece("a", filters=(Filter("join", "}{|("),)), TextPiece("."))),
        ("{mask}", (SlotPiece(),)),
        ("{mask:subj}{mask:obj}", (SlotPiece("subj"), SlotPiece("obj"))),
        ("{mask}{mask:mask}", (SlotPiece(), SlotPiece("mask"))),
        ("{@soft} {@mask}", (PartPiece("soft"), TextPiece(" "), PartPiece("mask"))),
        ("{@soft}{@soft}", (PartPiece("soft"), PartPiece("soft"))),
        ("{demos}{label}", (DemosPiece(), LabelPiece())),
        ("{start}{sep}{end}", (MarkPiece("start"), MarkPiece("sep"), MarkPiece("end"))),
        ("{tokens:each}", (EachPiece("tokens"),)),
        ("{tokens!:each}", (EachPiece("tokens", keep=True),)),
        ("{Mask}{masks}{each}", (FieldPiece("Mask"), FieldPiece("masks"), FieldPiece("each"))),
        ("{{}}", (TextPiece("{}"),)),
        ("{{{text}}}", (TextPiece("{"), FieldPiece("text"), TextPiece("}"))),
        ("{{{{mask}}}}", (TextPiece("{{mask}}"),)),
        ("a\nb\t'\"\\n|!@", (TextPiece("a\nb\t'\"\\n|!@"),)),
        (
            "《{标题}》：很{mask}。",
            (TextPiece("《"), FieldPiece("标题"), TextPiece("》：很"), SlotPiece(), TextPiece("。")),
        ),
        ("｛text｝｜！", (TextPiece("｛text｝｜！"),)),
        ("🎬{text}👨‍👩‍👧", (TextPiece("🎬"), FieldPiece("text"), TextPiece("👨‍👩‍👧"))),
        ("{naïve}{हिन्दी}{поле_2}", (FieldPiece("naïve"), FieldPiece("हिन्दी"), FieldPiece("поле_2"))),
    ],
)
def test_read(text: str, pieces: tuple[Piece, ...]) -> None:
    template = Template.parse(text)
    assert template.pieces == pieces
    assert str(template) == text


# -- what is refused: the text, the column, what is wrong, what to do


@pytest.mark.parametrize(
    ("text", "column", "what", "hint"),
    [
        ("It was {mask", 8, "`{` is never closed", CLOSE),
        ("{", 1, "`{` is never closed", CLOSE),
        ("{text {mask}", 1, "`{` is never closed", CLOSE),
        ('{"a": {"b": 1}}', 1, "`{` is never closed", CLOSE),
        ("{a|cut(9", 1, "`{` is never closed", CLOSE),
        ("🎬电影{文本", 4, "`{` is never closed", CLOSE),
        ("a } b", 3, "`}` closes nothing", "write `}}` for a brace that is text"),
        ("{text}}", 7, "`}` closes nothing", "write `}}` for a brace that is text"),
        ("{{mask}", 7, "`}` closes nothing", "write `}}` for a brace that is text"),
        ("a{}", 2, "nothing stands between `{` and `}`", INSIDE),
        ("{ }", 2, "a blank stands where a name could", BLANK),
        ("{ text }", 2, "a blank stands where a name could", BLANK),
        ("{text }", 6, "a blank stands where `!`, `|`, `:each` or `}` could", BLANK),
        ("{text\n}", 6, "a blank stands where `!`, `|`, `:each` or `}` could", BLANK),
        ("{text| lower}", 7, "a blank stands where a name could", BLANK),
        ("{a|cut( 4)}", 8, f"a blank stands where {COUNT} could", BLANK),
        ("{mask:a b}", 8, "a blank stands where `}` could", BLANK),
        ('{"mask"}', 2, '`"` stands where a name could', INSIDE),
        ("{5x}", 2, "`5x` is not a name", NAME),
        ("{text-b}", 2, "`text-b` is not a name", NAME),
        ("{text.strip()}", 2, "`text.strip` is not a name", NAME),
        ("{text！}", 2, "`text！` is not a name", NAME),
        ("{% if %}", 2, "`%` is not a name", NAME),
        ("{@}", 3, "`}` stands where a name could", INSIDE),
        ("{@5}", 3, "`5` is not a name", NAME),
        ("{@soft:20}", 7, "`:` stands where `}` could", LENGTH),
        ("{mask!}", 6, "`!` stands where `:` or `}` could", reserved("mask")),
        ("{mask|lower}", 6, "`|` stands where `:` or `}` could", reserved("mask")),
        ("{mask:}", 7, "`}` stands where a name could", "a slot is named as in `{mask:subject}`"),
        ("{mask:5}", 7, "`5` is not a name", NAME),
        ("{mask:a|lower}", 8, "`|` stands where `}` could", None),
        ("{label|lower}", 7, "`|` stands where `}` could", reserved("label")),
        ("{demos:x}", 7, "`:` stands where `}` could", reserved("demos")),
        ("{end!}", 5, "`!` stands where `}` could", reserved("end")),
        ("{text:ech}", 7, "`ech` stands where `each` could", EACH),
        ("{text:}", 7, "`}` stands where a name could", EACH),
        ("{a:each|lower}", 8, "`|` stands where `}` could", "items are shown as they are, without filters"),
        ("{text!!}", 7, "`!` stands where `|`, `:each` or `}` could", None),
        ("{text|lower!}", 12, "`!` stands where `|` or `}` could", "`!` stands right after the name: `{text!|lower}`"),
        ("{text|}", 7, "`}` stands where a name could", AFTER_BAR),
        ("{text|lowr}", 7, "there is no filter `lowr`", "did you mean `lower`?"),
        ("{text|lower|capitalize}", 13, "there is no filter `capitalize`", "did you mean `capital` or `uncapital`?"),
        ("{text|lower()}", 12, "`lower` takes nothing in parentheses", "write `lower`"),
        ("{text|cut}", 10, f"`}}` stands where `(` and {COUNT} could", "as in `cut(40)`"),
        ("{text|cut()}", 11, f"`)` stands where {COUNT} could", "as in `cut(40)`"),
        ("{text|cut(0)}", 11, f"`0` stands where {COUNT} could", "as in `cut(40)`"),
        ("{text|cut(040)}", 11, f"`040` stands where {COUNT} could", "as in `cut(40)`"),
        ("{text|cut(-1)}", 11, f"`-1` stands where {COUNT} could", "as in `cut(40)`"),
        ("{text|cut(４)}", 11, f"`４` stands where {COUNT} could", "as in `cut(40)`"),
        ("{text|cut(1000000000)}", 11, f"`1000000000` stands where {COUNT} could", "as in `cut(40)`"),
        ("{text|cut(1,2)}", 12, "`,` stands where `)` could", "as in `cut(40)`"),
        ('{text|cut("4")}', 11, f'`cut` takes {COUNT}, not `"4"`', "as in `cut(40)`"),
        ("{a|join(3)}", 9, "`join` takes a text in double quotes, not `3`", 'as in `join(", ")`'),
        ("{a|join(', ')}", 9, "`'` stands where a text in double quotes could", 'as in `join(", ")`'),
        ('{a|join(", )}', 9, '`"` is never closed', 'close it with `"`; inside, a quote is written `\\"`'),
        (r'{a|join("a\x")}', 11, r"`\` begins no escape", ESCAPES),
        ('{a|join("a\\\n")}', 11, r"`\` begins no escape", ESCAPES),
        ('{a|join("a\n")}', 11, "a line break stands inside double quotes", r"write it `\n`"),
        ('{a|join("a\t")}', 11, "a tab stands inside double quotes", r"write it `\t`"),
        ("{mask} {mask}", 8, "`{mask}` stands here a second time", NAMED),
        ("{mask:a}{mask:b}{mask:a}", 17, "`{mask:a}` stands here a second time", NAMED),
        ("{demos}{a}{demos}{a}", 11, "`{demos}` stands here a second time", "leave one out"),
        ("{text}{demos}", 7, "nothing stands after `{demos}`", "a demonstration is the stretch after it"),
        ("{mask}{a:each}", 7, "`{a:each}` can't stand beside `{mask}`", "leave one out"),
        ("{{{a:each}{mask:b}", 11, "`{mask:b}` can't stand beside `{a:each}`", "leave one out"),
        ("{a:each}{b:each}", 9, "`{b:each}` can't stand beside `{a:each}`", "leave one out"),
        ("{a:each}{a:each}", 9, "`{a:each}` stands here a second time", "leave one out"),
    ],
)
def test_refused(text: str, column: int, what: str, hint: str | None) -> None:
    with pytest.raises(TemplateError) as caught:
        Template.parse(text)
    quote = text.replace("\n", "\\n").replace("\t", "\\t")
    assert caught.value.message == f"column {column} of `{quote}`: {what}"
    assert caught.value.hint == hint


def test_an_error_whole() -> None:
    with pytest.raises(TemplateError) as caught:
        Template.parse("{text|lowr} It was {mask}.")
    assert str(caught.value) == (
        "column 7 of `{text|lowr} It was {mask}.`: there is no filter `lowr`\n\nhint: did you mean `lower`?"
    )
    assert caught.value.__suppress_context__


def test_a_long_template_is_quoted_around_the_column() -> None:
    with pytest.raises(TemplateError) as caught:
        Template.parse("x" * 100 + "}" + "y" * 100)
    assert caught.value.message == f"column 101 of `…{'x' * 40}}}{'y' * 39}…`: `}}` closes nothing"


@pytest.mark.parametrize("name", RESERVED)
@pytest.mark.parametrize("make", [FieldPiece, EachPiece])
def test_words_of_the_language_are_no_fields(make: type[FieldPiece] | type[EachPiece], name: str) -> None:
    with pytest.raises(TemplateError) as caught:
        make(name)
    assert str(caught.value) == f"`{name}` can't be a field\n\nhint: {reserved(name)}"


@pytest.mark.parametrize("make", [FieldPiece, EachPiece, PartPiece, SlotPiece])
@pytest.mark.parametrize("name", ["a b", "5", "a}", "a|b", " "])
def test_pieces_refuse_what_could_not_be_written(make: type[PartPiece], name: str) -> None:
    with pytest.raises(TemplateError, match="is not a name"):
        make(name)


def test_there_are_three_marks() -> None:
    with pytest.raises(TemplateError, match="there is no mark `cls`"):
        MarkPiece("cls")


def test_the_constructor_refuses_what_parse_refuses() -> None:
    with pytest.raises(TemplateError) as caught:
        Template((TextPiece("{"), SlotPiece(), SlotPiece()))
    assert caught.value.message == "column 9 of `{{{mask}{mask}`: `{mask}` stands here a second time"


# -- there and back

names = st.from_regex(r"[^\W\d]\w{0,8}", fullmatch=True).filter(str.isidentifier)
fields = names.filter(lambda name: name not in RESERVED)
characters = st.one_of(st.characters(exclude_categories=()), st.sampled_from('{}|!:@()", \n\t\\电！'))
arguments = {int: st.integers(1, MOST), str: st.text(characters), None: st.none()}
filters = st.lists(
    st.sampled_from(sorted(FILTERS)).flatmap(
        lambda name: st.builds(Filter, st.just(name), arguments[FILTERS[name].argument])
    ),
    max_size=3,
).map(tuple)

Recipe = Callable[[], Piece]  # made in the test: what checks types there draws at random, which a strategy may not


def recipe(make: Callable[..., Piece], *given: st.SearchStrategy[Any]) -> st.SearchStrategy[Recipe]:
    return st.builds(partial, st.just(make), *given)


anywhere = st.one_of(
    recipe(TextPiece, st.text(characters)),
    recipe(FieldPiece, fields, st.booleans(), filters),
    recipe(PartPiece, names),
    recipe(LabelPiece),
    recipe(MarkPiece, st.sampled_from(MARKS)),
)
slots = st.one_of(
    st.lists(st.one_of(st.just(""), names), max_size=3, unique=True).map(
        lambda several: [partial(SlotPiece, name) for name in several]
    ),
    recipe(EachPiece, fields, st.booleans()).map(lambda each: [each]),
)


@st.composite
def recipes(draw: st.DrawFn) -> list[Recipe]:
    """Pieces that may stand together, in any order; texts that touch, or are empty, among them."""
    some = draw(st.permutations([*draw(st.lists(anywhere, max_size=8)), *draw(slots)]))
    if draw(st.booleans()):
        return [*draw(st.lists(anywhere, max_size=2)), DemosPiece, *some, LabelPiece]
    return list(some)


@given(recipes())
@example([partial(TextPiece, "{"), partial(TextPiece, "}"), partial(FieldPiece, "a"), partial(TextPiece, "}")])
def test_what_is_printed_reads_back_equal(recipes: list[Recipe]) -> None:
    pieces = tuple(make() for make in recipes)
    template = Template(pieces)
    again = Template.parse(str(template))
    assert again == template
    assert hash(again) == hash(template)
    assert str(again) == str(template) == "".join(map(str, pieces))
    assert all(piece != TextPiece("") for piece in template.pieces)


@given(st.text(st.sampled_from('{}|!:@()",\\ amsk1é')))
def test_what_is_read_prints_back_letter_for_letter(text: str) -> None:
    refused = None
    try:
        template = Template.parse(text)
    except TemplateError as problem:
        refused = problem.message
    if refused is None:
        assert str(template) == text
    else:
        column = re.match(r"column (\d+) of `", refused)
        assert column
        assert 1 <= int(column[1]) <= len(text)


def test_texts_that_touch_are_one() -> None:
    apart = Template((TextPiece("a"), TextPiece(""), TextPiece("b"), SlotPiece(), TextPiece("")))
    assert apart == Template.parse("ab{mask}")
    assert apart.pieces == (TextPiece("ab"), SlotPiece())


def test_a_template_is_frozen_and_shows_how_it_is_made() -> None:
    template = Template.parse("{text} It was {mask}.")
    with pytest.raises(dataclasses.FrozenInstanceError):
        template.pieces = ()  # type: ignore[misc]
    assert repr(template) == "Template.parse('{text} It was {mask}.')"
    assert Template.parse("{text} It was {mask}.") is template


# -- what it says of itself


def test_names() -> None:
    template = Template.parse("{@a}{demos}{x} {y|lower} {x!} {mask:s} {@b}{@a} {label}{mask}")
    assert template.fields == ("x", "y")
    assert template.slots == ("s", "")
    assert template.parts == ("a", "b")
    assert (template.has_demos, template.has_label, template.has_each) == (True, True, False)


def test_names_of_a_template_for_tags() -> None:
    template = Template.parse("{tokens:each} {text}")
    assert template.fields == ("tokens", "text")
    assert template.slots == ()
    assert (template.has_demos, template.has_label, template.has_each) == (False, False, True)


@pytest.mark.parametrize(
    ("text", "slot", "before"),
    [
        ("{text} It was {mask}.", "", Before(" It was ", start=False)),
        ("{mask} {text}", "", Before("", start=True)),
        ("{start}{mask} {text}", "", Before("", start=True)),
        (" {mask}", "", Before(" ", start=False)),
        ("{text}{mask}", "", Before("", start=False)),
        ("{@soft}{mask}", "", Before("", start=False)),
        ("{label}{mask}", "", Before("", start=False)),
        ("It was{sep}{mask}", "", Before("", start=False)),
        ("{demos}{mask} {text}", "", Before("", start=True)),
        ("Rate: {demos}{mask} {text}", "", Before("Rate: ", start=False)),
        ("{{{mask}", "", Before("{", start=False)),
        ("{mask:a} of {mask:b}", "a", Before("", start=True)),
        ("{mask:a} of {mask:b}", "b", Before(" of ", start=False)),
        ("{mask:a}{mask:b}", "b", Before("", start=False)),
    ],
)
def test_before(text: str, slot: str, before: Before) -> None:
    assert Template.parse(text).before(slot) == before


@pytest.mark.parametrize(
    ("text", "slot", "message"),
    [
        ("{a}", "", "there is no slot `{mask}` in `{a}`\n\nhint: there are none"),
        (
            "{mask:subject}",
            "subj",
            "there is no slot `{mask:subj}` in `{mask:subject}`\n\nhint: did you mean `{mask:subject}`?",
        ),
    ],
)
def test_before_what_is_not_there(text: str, slot: str, message: str) -> None:
    with pytest.raises(TemplateError) as caught:
        Template.parse(text).before(slot)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "led"),
    [
        ("{text} {mask}", "{@soft}{text} {mask}"),
        ("{@soft}{text}", "{@soft}{text}"),
        ("{@other}{text}", "{@soft}{@other}{text}"),
        ("{start}{text}", "{start}{@soft}{text}"),
        ("{start}{@soft}{text}", "{start}{@soft}{text}"),
        ("{text}{@soft}", "{@soft}{text}{@soft}"),
        ("{demos}{text}", "{@soft}{demos}{text}"),
        ("", "{@soft}"),
    ],
)
def test_lead(text: str, led: str) -> None:
    assert str(Template.parse(text).lead("soft")) == led


def test_only_field() -> None:
    assert Template.parse("{text} {text|lower} {mask}").only_field() == "text"
    assert Template.parse("{tokens:each}").only_field() == "tokens"
    assert Template.parse("{text}{sep}{said}").only_field({"said"}) == "text"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{mask}", "`{mask}` shows no field, where one is needed\n\nhint: give each example as fields by name"),
        (
            "{a} {b}",
            "`{a} {b}` shows several fields, `a`, `b`, where one is needed\n\n"
            "hint: give each example as fields by name",
        ),
    ],
)
def test_no_only_field(text: str, message: str) -> None:
    with pytest.raises(TemplateError) as caught:
        Template.parse(text).only_field()
    assert str(caught.value) == message


# -- what is rendered


def plain(runs: Runs) -> str:
    """Runs in short, for whole comparisons: a demonstration's number before what is its own, fields in <>."""
    shown = []
    for run in runs:
        number = "" if run.demo is None else f"{run.demo}:"
        match run:
            case TextRun(text, None):
                shown.append(f"{number}{text}")
            case TextRun(text, field, keep):
                shown.append(f"{number}<{field}{'!' * keep} {text}>")
            case ItemsRun(found, field):
                shown.append(f"{number}<{field} {'+'.join(found)}>")
            case SlotRun(name):
                shown.append(f"{number}[{name}]")
            case PartRun(name):
                shown.append(f"{number}@{name}")
            case MarkRun(mark):
                shown.append(f"{number}/{mark}")
    return "|".join(shown)


def test_render() -> None:
    template = Template.parse("{start}{@soft}{a!|lower} and {b}{sep}It was {mask}.{end}")
    assert template.render({"a": "X", "b": "y", "c": object()}) == (
        MarkRun("start"),
        PartRun("soft"),
        TextRun("x", field="a", keep=True),
        TextRun(" and "),
        TextRun("y", field="b"),
        MarkRun("sep"),
        TextRun("It was "),
        SlotRun(),
        TextRun("."),
        MarkRun("end"),
    )


def test_render_without_slot_or_field() -> None:
    assert Template.parse("").render({}) == ()
    assert Template.parse("{{a}}").render({}) == (TextRun("{a}"),)


def test_an_empty_field_is_a_run() -> None:
    assert Template.parse("{a}: {mask}").render({"a": ""}) == (TextRun("", field="a"), TextRun(": "), SlotRun())


@pytest.mark.parametrize("text", ["{mask}", "{{", "}", "{@soft}{demos}", '{"a": 1}', "{a|lower}", "🎬｛｝"])
def test_what_a_field_holds_stays_text(text: str) -> None:
    runs = Template.parse("{a} {mask}").render({"a": text}, demos=[Shown({"a": text}, text)])
    assert runs == (
        TextRun(text, field="a", demo=0),
        TextRun(f" {text}\n\n", demo=0),
        TextRun(text, field="a"),
        TextRun(" "),
        SlotRun(),
    )


def test_chinese() -> None:
    template = Template.parse("《{标题|cut(2)}》，{正文!|stop}总之很{mask}。")
    runs = template.render({"标题": "流浪地球", "正文": "好看"})
    assert plain(runs) == "《|<标题 流浪>|》，|<正文! 好看。>|总之很|[]|。"


def test_items_of_a_list() -> None:
    template = Template.parse("Tags: {tokens!:each}.")
    assert template.render({"tokens": ["Rain", "in", 1999]}) == (
        TextRun("Tags: "),
        ItemsRun(("Rain", "in", "1999"), "tokens", keep=True),
        TextRun("."),
    )


def test_a_word_at_the_slot_is_the_templates_own() -> None:
    template = Template.parse("{a} It was {mask}.")
    assert template.render({"a": "x"}, word="great") == (TextRun("x", field="a"), TextRun(" It was great."))
    assert template.render({"a": "x"}, word=("great",)) == template.render({"a": "x"}, word="great")


def test_words_at_several_slots() -> None:
    template = Template.parse("{mask:a} is {mask:b}")
    assert template.render({}, word=("he", "here")) == (TextRun("he is here"),)
    assert template.render({}, word="so") == (TextRun("so is so"),)
    with pytest.raises(TemplateError) as caught:
        template.render({}, word=("he",))
    assert str(caught.value) == "`{mask:a} is {mask:b}` has slots: 2, words given: 1\n\nhint: give one word a slot"


def test_a_blank_before_a_slot_stays_in_the_text() -> None:
    assert plain(Template.parse("It was {mask}").render({})) == "It was |[]"


def test_label() -> None:
    template = Template.parse("{a} is {label}: {mask}")
    assert plain(template.render({"a": "x"}, label="sport")) == "<a x>| is sport: |[]"
    assert plain(template.render({"a": "x"}, word="yes")) == "<a x>| is yes: yes"
    assert plain(template.render({"a": "x"}, word="yes", label="sport")) == "<a x>| is sport: yes"


def test_label_without_a_slot() -> None:
    template = Template.parse("{a}? {label}")
    assert plain(template.render({"a": "x"}, word=("so", "there"))) == "<a x>|? so"
    with pytest.raises(TemplateError) as caught:
        template.render({"a": "x"}, word=())
    assert str(caught.value) == (
        "column 6 of `{a}? {label}`: `{label}` has no word here\n\n"
        "hint: render it with `label` or `word`; a column called `label` is the target, not a field"
    )


def test_a_word_where_items_are_read() -> None:
    with pytest.raises(TemplateError) as caught:
        Template.parse("{a:each}").render({"a": ["x"]}, word="so")
    assert str(caught.value) == (
        "column 1 of `{a:each}`: `{a:each}` can't be filled with a word\n\nhint: it takes no demonstrations"
    )


# -- demonstrations

SUN = Shown({"a": "sun"}, "good")
HAIL = Shown({"a": "hail"}, ("bad",))


def test_demonstrations_stand_where_the_template_says() -> None:
    template = Template.parse("Rate.\n{demos}{a}: {mask}.")
    assert template.render({"a": "rain"}, demos=[SUN, HAIL], between=Template.parse("\n")) == (
        TextRun("Rate.\n"),
        TextRun("sun", field="a", demo=0),
        TextRun(": good.\n", demo=0),
        TextRun("hail", field="a", demo=1),
        TextRun(": bad.\n", demo=1),
        TextRun("rain", field="a"),
        TextRun(": "),
        SlotRun(),
        TextRun("."),
    )
    assert plain(template.render({"a": "rain"})) == "Rate.\n|<a rain>|: |[]|."


def test_what_stands_before_demonstrations_may_show_the_example() -> None:
    template = Template.parse("{b} {mask:x}{demos}{a}:{mask:y}")
    sun = Shown({"a": "sun"}, ("p", "q"))
    runs = template.render({"a": "rain", "b": "so"}, demos=[sun])
    assert plain(runs) == "<b so>| |[x]|0:<a sun>|0::q\n\n|<a rain>|:|[y]"


@pytest.mark.parametrize(
    ("text", "runs"),
    [
        ("{a}:{mask}", "0:<a sun>|0::good\n\n|<a rain>|:|[]"),
        ("{@s}{a}:{mask}", "@s|0:<a sun>|0::good\n\n|<a rain>|:|[]"),
        ("{start}{@s}{@t}{a}:{mask}", "/start|@s|@t|0:<a sun>|0::good\n\n|<a rain>|:|[]"),
        ("{@s}{start}{a}:{mask}", "@s|/start|0:<a sun>|0::good\n\n|<a rain>|:|[]"),
        ("{@s} {@t} {a}:{mask}", "@s| |@t|0: |0:<a sun>|0::good\n\n| |<a rain>|:|[]"),
        (" {a}:{mask}", "0: |0:<a sun>|0::good\n\n| |<a rain>|:|[]"),
        ("{a}:{@s}{mask}{end}", "0:<a sun>|0::|0:@s|0:good|0:/end|0:\n\n|<a rain>|:|@s|[]|/end"),
        ("So {@s}{a}:{mask}", "0:So |0:@s|0:<a sun>|0::good\n\n|So |@s|<a rain>|:|[]"),
        ("{@s}", "@s|0:\n\n"),
    ],
)
def test_demonstrations_come_first_where_the_template_says_nothing(text: str, runs: str) -> None:
    assert plain(Template.parse(text).render({"a": "rain"}, demos=[SUN])) == runs


def test_each_demonstration_says_its_own_label() -> None:
    template = Template.parse("{demos}{a} is {label}.")
    runs = template.render({"a": "rain"}, label="wet", demos=[SUN, HAIL], between=Template.parse(""))
    assert plain(runs) == "0:<a sun>|0: is good.|1:<a hail>|1: is bad.|<a rain>| is wet."


def test_demonstrations_keep_what_is_never_cut() -> None:
    runs = Template.parse("{a!}:{b} {mask}").render({"a": "x", "b": "y"}, demos=[Shown({"a": "v", "b": "w"}, "so")])
    kept = [(run.field, run.keep, run.demo) for run in runs if isinstance(run, TextRun) and run.field]
    assert kept == [("a", True, 0), ("b", False, 0), ("a", True, None), ("b", False, None)]


def test_demonstrations_are_filled_when_the_slot_is_too() -> None:
    runs = Template.parse("{a}:{mask}").render({"a": "rain"}, word="so", demos=[SUN])
    assert plain(runs) == "0:<a sun>|0::good\n\n|<a rain>|:so"


def test_between_is_plain_text_and_parts() -> None:
    with pytest.raises(TemplateError) as caught:
        Template.parse("{a}{mask}").render({"a": "x"}, demos=[SUN], between=Template.parse("\n{a}"))
    assert str(caught.value) == (
        "`\n{a}` has `{a}`, and can't stand between demonstrations\n\nhint: plain text stands there, and parts"
    )
    runs = Template.parse("{a}:{mask}").render({"a": "rain"}, demos=[SUN], between=Template.parse("{{}}"))
    assert plain(runs) == "0:<a sun>|0::good{}|<a rain>|:|[]"
    runs = Template.parse("{a}:{mask}").render({"a": "rain"}, demos=[SUN], between=Template.parse("\n{@soft}"))
    assert PartRun("soft", demo=0) in runs
    assert plain(runs) == "0:<a sun>|0::good\n|0:@soft|<a rain>|:|[]"


# -- what can't be rendered


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"text": "x", "other": "y", "nothing": None},
            "column 4 of `It {txt}`: there is no field `txt`; the example has `text`, `other`\n\n"
            "hint: did you mean `text`?",
        ),
        ({}, "column 4 of `It {txt}`: there is no field `txt`; the example has none\n\nhint: there are none"),
        (
            {"txt": None, "b": "x"},
            'column 4 of `It {txt}`: field `txt` is None; the example has `b`\n\nhint: give it a text, "" for none',
        ),
        (
            {"txt": ["x"]},
            "column 4 of `It {txt}`: field `txt` is of type `list`, not a text\n\n"
            'hint: show it by `{txt|join(", ")}` or `{txt|json}`',
        ),
    ],
)
def test_refused_fields(given: dict[str, object], message: str) -> None:
    with pytest.raises(TemplateError) as caught:
        Template.parse("It {txt}").render(given)
    assert str(caught.value) == message


def test_refused_fields_of_a_demonstration() -> None:
    with pytest.raises(TemplateError) as caught:
        Template.parse("{a}{mask}").render({"a": "x"}, demos=[SUN, Shown({"b": "y"}, "so")])
    assert str(caught.value) == (
        "demonstration 2, column 1 of `{a}{mask}`: there is no field `a`; the example has `b`\n\nhint: there are `b`"
    )


def test_a_field_that_is_not_shown_may_hold_anything() -> None:
    assert plain(Template.parse("{a}").render({"a": "x", "b": None, "c": object()})) == "<a x>"
