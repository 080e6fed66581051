import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.lm.rows import row, span

from promptatlas.errors import TemplateError, TooLong
from promptatlas.lm.encode import Rows
from promptatlas.parts.tokens import Tokens
from promptatlas.parts.vectors import Vectors
from promptatlas.testing.tiny import names, tiny
from promptatlas.text.runs import TextRun
from promptatlas.text.template import Template

FIXED = 6  # [CLS] it was [MASK] . [SEP]
BYTES = ("roberta", "gpt2", "qwen2", "opt", "bart")


def words(count: int) -> str:
    return " ".join(["the"] * count)


@pytest.mark.parametrize("name", ["bert", "roberta", "albert", "gpt2", "llama", "t5"])  # a tokenizer of each kind
@given(text=st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=30))
@settings(max_examples=20, deadline=None)
def test_without_slots_a_row_is_the_tokenizers_own(name: str, text: str) -> None:
    lm = tiny(name)
    (one,) = lm.encode([(TextRun(text, field="text"),)], {})
    wanted = tuple(lm.tokenizer.backend(text)["input_ids"])
    if wanted:
        assert one.ids == wanted
    else:
        assert one.ids == lm.tokenizer.opening


@pytest.mark.parametrize("name", ["bert", "roberta", "modernbert"])
def test_a_row_with_a_mask_is_the_tokenizers_own(name: str) -> None:
    lm = tiny(name)
    mask = lm.tokenizer.backend.mask_token
    one = row(lm, "{text} It was {mask}, that old town.", text="The cat sat")
    text = f"The cat sat It was {mask}, that old town."
    assert list(one.ids) == lm.tokenizer.backend(text)["input_ids"]
    assert [one.ids[at] for at in one.slots[0].positions] == [lm.mask]


@pytest.mark.parametrize("name", names())
def test_spans_cover_a_row_and_tell_where_from(name: str) -> None:
    lm = tiny(name)
    one = row(lm, "Review : {text} It was {mask}", text="a good movie")
    assert one.spans[0].start == 0
    assert one.spans[-1].end == len(one)
    assert all(a.end == b.start for a, b in zip(one.spans, one.spans[1:], strict=False))
    start, end = span(one, "text")
    assert lm.text(one.ids[start:end]).strip() == "a good movie"


@pytest.mark.parametrize("name", names())
def test_the_first_piece_of_a_field_belongs_to_the_field_though_its_blank_is_the_templates(name: str) -> None:
    lm = tiny(name)
    one = row(lm, "Review : {text}", text="great")
    start, end = span(one, "text")
    assert lm.text(one.ids[start:end]).strip() == "great"


def test_fields_are_cut_from_their_ends_in_proportion() -> None:
    one = row(tiny("bert"), "{a} {b} It was {mask}.", a=words(200), b=words(100))
    cut = {span.name: span.cut for span in one.spans if span.kind == "field"}
    assert len(one) == tiny("bert").window == 160
    assert cut == {"a": 97, "b": 49}  # of 146 too many, 97.33 and 48.67
    assert one.cut() == 146


def test_what_is_kept_is_the_beginning() -> None:
    text = "good " + words(200) + " bad"
    one = row(tiny("bert"), "{text} It was {mask}.", text=text)
    start, end = span(one, "text")
    whole = tiny("bert").tokens(text)
    assert one.ids[start:end] == whole[: end - start]
    assert tiny("bert").pieces(one.ids[end:]) == ["it", "was", "[MASK]", ".", "[SEP]"]


def test_a_field_marked_to_be_kept_is_not_cut() -> None:
    one = row(tiny("bert"), "{a!} {b} It was {mask}.", a=words(100), b=words(100))
    assert {span.name: span.cut for span in one.spans if span.kind == "field"} == {"a": 0, "b": 46}


def test_too_long_says_the_numbers() -> None:
    with pytest.raises(TooLong) as caught:
        row(tiny("bert"), "{a!} {b} It was {mask}.", a=words(200), b=words(7))
    assert str(caught.value) == (
        "a row needs 206 positions for what may not be cut, and the model has room for 160 "
        "(with the 7 of its fields that may be cut it is 213)\n\n"
        "hint: shorten the template or what was learned for it (`length`), show fewer demonstrations, or drop the `!` "
        "from a field so that it may be cut"
    )


@pytest.mark.parametrize(("name", "left"), [("gpt2", 150), ("bart", 150), ("t5", 160), ("bert", 160)])
def test_room_is_left_for_an_answer_written_after_the_text(name: str, left: int) -> None:
    assert len(row(tiny(name), "{text} It was {mask}", text=words(300), room=10)) == left


def test_vectors_take_room() -> None:
    lm = tiny("bert")
    one = row(lm, "{@soft}{text} It was {mask}.", {"soft": Vectors(lm.vectors[:20])}, text=words(300))
    assert len(one) == 160
    assert one.cut() == 300 - (160 - 20 - FIXED)


def test_marks_that_are_written_replace_the_automatic_ones() -> None:
    lm = tiny("bert")
    assert lm.pieces(row(lm, "{start}a{sep}the{end}").ids) == ["[CLS]", "a", "[SEP]", "the", "[SEP]"]
    assert lm.pieces(row(lm, "a{sep}the").ids) == ["[CLS]", "a", "[SEP]", "the", "[SEP]"]
    assert lm.pieces(row(lm, "the {start}a").ids) == ["the", "[CLS]", "a", "[SEP]"]
    roberta = tiny("roberta")
    assert roberta.pieces(row(roberta, "a{sep}a").ids) == ["<s>", "a", "</s>", "a", "</s>"]


def test_the_second_segment_begins_after_the_separator() -> None:
    one = row(tiny("bert"), "{a}{sep}{b} {mask}", a="the cat", b="a dog")
    backend = tiny("bert").tokenizer.backend("the cat", "a dog [MASK]", return_token_type_ids=True)
    assert (list(one.ids), list(one.types)) == (backend["input_ids"], backend["token_type_ids"])
    assert set(row(tiny("modernbert"), "{a}{sep}{b} {mask}", a="the", b="a").types) == {0}


def test_leading_vectors_stand_before_the_start_mark_and_tokens_behind_it() -> None:
    lm = tiny("bert")
    soft = row(lm, "{@soft}{text} {mask}", {"soft": Vectors(lm.vectors[:3])}, text="a")
    assert span(soft, "soft") == (0, 3)
    assert soft.first == 3
    assert lm.pieces(soft.ids[3:]) == ["[CLS]", "a", "[MASK]", "[SEP]"]
    hard = row(lm, "{@hard}{text} {mask}", {"hard": Tokens(lm.tokens("the cat"))}, text="a")
    assert lm.pieces(hard.ids) == ["[CLS]", "the", "cat", "a", "[MASK]", "[SEP]"]
    written = row(lm, "{start}{@soft}{text} {mask}", {"soft": Vectors(lm.vectors[:3])}, text="a")
    assert (written.first, span(written, "soft")) == (0, (1, 4))


def test_an_empty_field_does_not_move_the_start_mark() -> None:
    lm = tiny("bert")
    parts = {"x": Vectors(lm.vectors[:2])}
    full, empty = (row(lm, "{text}{@x} {mask}", parts, text=text) for text in ("a", ""))
    assert (full.first, span(full, "x")) == (0, (2, 4))
    assert (empty.first, span(empty, "x")) == (0, (1, 3))


def test_a_part_of_length_zero_takes_no_place() -> None:
    lm = tiny("bert")
    without = row(lm, "{text} {mask}", text="a")
    assert row(lm, "{@x}{text} {mask}", {"x": Vectors(lm.vectors[:0])}, text="a").ids == without.ids


def test_a_missing_part_is_named() -> None:
    with pytest.raises(TemplateError, match="names the part `soft`, which the prompt does not have"):
        row(tiny("bert"), "{@soft}{text}", text="a")


def test_several_slots_keep_their_names_and_widths() -> None:
    lm = tiny("bert")
    parsed = Template.parse("{mask:a} and {mask:b}")
    (one,) = lm.encode([parsed.render({})], {}, widths={"a": 1, "b": 3})
    assert [(slot.name, slot.positions) for slot in one.slots] == [("a", (1,)), ("b", (3, 4, 5))]
    assert lm.pieces(one.ids) == ["[CLS]", "[MASK]", "and", "[MASK]", "[MASK]", "[MASK]", "[SEP]"]


@pytest.mark.parametrize("name", names("masked"))
def test_each_item_has_a_slot_at_its_first_piece(name: str) -> None:
    lm = tiny(name)
    items = ["unbelievable", "cat", "unfortunate!", "电影"]
    one = row(lm, "Topic : {tokens:each} .", tokens=items)
    assert [len(slot.positions) for slot in one.slots] == [1] * 4
    starts = [slot.positions[0] for slot in one.slots]
    _, end = span(one, "tokens")
    for item, start, stop in zip(items, starts, [*starts[1:], end], strict=True):
        assert lm.text(one.ids[start:stop]).replace(" ", "").removesuffix("▁") == item


def test_items_cut_away_have_no_slot() -> None:
    one = row(tiny("bert"), "{tokens:each}", tokens=["the"] * 200)
    assert len(one.slots) == 158


def test_an_item_the_tokenizer_drops_shares_the_next_ones_piece() -> None:
    one = row(tiny("bert"), "{tokens:each}", tokens=["the", "\u200d", "cat", "\u200d"])  # a joiner is nothing to BERT
    assert [slot.positions for slot in one.slots] == [(1,), (2,), (2,), (2,)]


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize(
    "text", ["a [MASK] b", "</s>", "x</s>", "<s> <mask>", "<extra_id_0> <pad>", "</s></s>", "[SEP]"]
)
def test_marks_in_the_data_are_text(name: str, text: str) -> None:
    lm = tiny(name)
    one = row(lm, "{text} It was {mask}", text=text)
    start, end = span(one, "text")
    assert end > start
    assert not set(one.ids[start:end]) & lm.tokenizer.marks
    empty = row(lm, "{text} It was {mask}", text="")
    assert len(one) - (end - start) == len(empty)


@pytest.mark.parametrize("name", BYTES)
@pytest.mark.parametrize("text", ["电影很好看。", "so good 🎬👍🏽!", "é̂", "a\n\nb\t c"])
def test_bytes_lose_nothing(name: str, text: str) -> None:
    lm = tiny(name)
    one = row(lm, "{text}", text=text)
    start, end = span(one, "text")
    assert lm.text(one.ids[start:end]) == text


@pytest.mark.parametrize("name", names())
def test_emoji_can_be_cut(name: str) -> None:
    one = row(tiny(name), "{text} It was {mask}", text="👍🏽 " * 300)
    assert len(one) == tiny(name).window


@pytest.mark.parametrize("name", names())
def test_what_holds_nothing_is_still_a_row(name: str) -> None:
    lm = tiny(name)
    one = row(lm, "{text}{mask}", text="")
    assert len(one) >= 1
    assert len(one.slots) == 1
    assert max(one.slots[0].positions) < max(len(one), len(one.feed))


def test_blanks_before_a_slot_are_the_answers_also_where_a_field_ends_with_them() -> None:
    lm = tiny("gpt2")
    assert row(lm, "{text} {mask}", text="the cat  ").ids == lm.tokens("the cat")
    assert row(lm, "{text}\n{mask}", text="the").ids == lm.tokens("the\n")


def test_a_demonstration_is_told_apart() -> None:
    lm = tiny("bert")
    parsed = Template.parse("{text} It was {mask}.")
    from_demo = parsed.render({"text": "a dog"}, demos=[])
    assert {span.demo for span in lm.encode([from_demo], {})[0].spans} == {None}


def test_the_same_runs_are_tokenised_once(monkeypatch: pytest.MonkeyPatch) -> None:
    lm = tiny("bert")
    runs = Template.parse("{text} It was {mask} once again").render({"text": "the old hill"})
    first = lm.encode([runs, runs], {})
    monkeypatch.setattr(type(lm.tokenizer), "stretches", lambda *_: {})
    assert lm.encode([runs], {}) == first[:1]
    assert first[0] == first[1]


def test_what_was_encoded_is_forgotten_in_the_order_of_use() -> None:
    lm = tiny("bert")
    rows = Rows(limit=2)
    texts = [Template.parse("{text} {mask}").render({"text": text}) for text in ("a", "the cat", "a dog")]

    def known() -> list[bool]:
        return [any(key[0] == one for key in rows._rows) for one in texts]

    for at in (0, 1, 0, 2):
        rows.encode([texts[at]], lm.tokenizer, lm.layout, {}, widths={}, window=64)
    assert known() == [True, False, True]
