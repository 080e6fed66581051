import pytest
from tests.lm.rows import row

from promptatlas.errors import TemplateError
from promptatlas.testing.tiny import names, tiny


@pytest.mark.parametrize("name", names("causal"))
def test_a_causal_slot_is_read_at_the_last_token(name: str) -> None:
    one = row(tiny(name), "{text} It was {mask}", text="a film")
    assert one.slots[0].positions == (len(one) - 1,)
    assert one.feed == ()


def test_text_after_a_causal_slot_is_quoted() -> None:
    with pytest.raises(TemplateError) as caught:
        row(tiny("gpt2"), "{text} It was {mask}, all in all.", text="a film")
    assert str(caught.value) == (
        "a causal model can't see what follows the slot: `, all in all.`\n\n"
        "hint: put {mask} at the end of the template, or use a masked or seq2seq model"
    )


def test_a_field_or_a_part_after_a_causal_slot_is_quoted_too() -> None:
    with pytest.raises(TemplateError, match=r"follows the slot: `a film`"):
        row(tiny("gpt2"), "{mask} {text}", text="a film")
    with pytest.raises(TemplateError, match=r"follows the slot: `\{@soft\}`"):
        row(tiny("gpt2"), "{mask}{@soft}")


@pytest.mark.parametrize("after", [" ", "\n", "{end}", " {sep}"])
def test_blanks_and_marks_after_a_causal_slot_are_left_out(after: str) -> None:
    assert row(tiny("opt"), "It was {mask}" + after) == row(tiny("opt"), "It was {mask}")


@pytest.mark.parametrize(("name", "kind"), [("gpt2", "causal"), ("t5", "seq2seq")])
def test_only_a_masked_model_fills_several_slots(name: str, kind: str) -> None:
    with pytest.raises(TemplateError, match=f"a {kind} model fills one slot, and the template has 2"):
        row(tiny(name), "{mask:a} and {mask:b}")


def test_a_seq2seq_model_is_not_read_at_items() -> None:
    with pytest.raises(TemplateError, match="can't be read at every item"):
        row(tiny("t5"), "{tokens:each}", tokens=["the", "cat"])


def test_t5_fills_its_sentinel() -> None:
    lm = tiny("t5")
    one = row(lm, "{text} It was {mask} .", text="a film")
    sentinel = lm.tokenizer.sentinel()
    assert one.ids.count(sentinel) == 1
    assert one.feed == (0, sentinel)
    assert one.slots[0].positions == (1,)


def test_bart_writes_the_text_again_up_to_the_slot() -> None:
    lm = tiny("bart")
    one = row(lm, "{text} It was {mask} .", text="a film")
    at = one.ids.index(lm.mask)
    assert one.feed == (2, *one.ids[:at])
    assert one.slots[0].positions == (at,)
