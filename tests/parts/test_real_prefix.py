"""A prefix made of real tokens' keys and values is the model run on those tokens (sheet 15, sec. 8.1)."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.lm.rows import row

from promptatlas.errors import CannotAttach, SettingError, TooLong
from promptatlas.lm.ask import Decode, Given, Job, Vocabulary
from promptatlas.lm.scripted import ScriptedLM
from promptatlas.parts.prefix import Prefix, normal, of_text, of_tokens
from promptatlas.testing.same import same
from promptatlas.testing.tiny import names, tiny

FILLED = "{text} It was {mask}"
TEXTS = ("the cat sat on the old grey town", "a", "a dog ran over the hill")
FIRST = (7, 8, 9, 10, 11)


def jobs(lm: Any, asks: Any, parts: dict[str, Any], front: tuple[int, ...] = ()) -> list[Job]:
    """Rows of the texts, those tokens in front of each."""
    found = []
    for text in TEXTS:
        one = row(lm, FILLED, parts, text=text)
        slots = tuple(replace(slot, positions=tuple(at + len(front) for at in slot.positions)) for slot in one.slots)
        one = replace(one, ids=(*front, *one.ids), types=(*(0,) * len(front), *one.types), slots=slots, spans=())
        found.append(Job(one.then((9, 12)), asks, parts))
    return found


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("name", names("causal"))
def test_what_follows_it_is_read_as_after_the_tokens(name: str, left: bool) -> None:
    lm = tiny(name, left=left)
    parts = {"prefix": of_tokens(lm, FIRST)}
    for asks in ((Vocabulary(),), (Given(),)):
        real, ours = lm.read(jobs(lm, asks, {}, FIRST)), lm.read(jobs(lm, asks, parts))
        for one, other in zip(ours, real, strict=True):
            same(one[0].values, other[0].values, name)
    apart = lm.read(jobs(lm, (Given(),), {"prefix": of_tokens(lm, FIRST, positions="unshifted")}))
    assert max(float((a[0].values - b[0].values).detach().abs().max()) for a, b in zip(apart, real, strict=True)) > 1e-4


@pytest.mark.parametrize("name", names("causal"))
@pytest.mark.parametrize("beams", [1, 2])
def test_what_is_written_after_it_is_written_as_after_the_tokens(name: str, beams: int) -> None:
    lm = tiny(name)
    how = Decode(max_new=6, beams=beams)
    real = lm.generate(jobs(lm, (), {}, FIRST), how)
    ours = lm.generate(jobs(lm, (), {"prefix": of_tokens(lm, FIRST)}), how)
    assert [[one.ids for one in some] for some in ours] == [[one.ids for one in some] for some in real]


@pytest.mark.parametrize("name", [name for name in names("masked") if name != "deberta-v2"])
def test_rows_with_shifted_and_unshifted_prefixes_and_none_share_a_batch(name: str) -> None:
    lm = tiny(name)
    parts: list[dict[str, Any]] = [
        {"prefix": normal(lm, 3, seed=0, positions="shifted")},
        {"prefix": normal(lm, 3, seed=0)},
        {},
    ]
    mixed = [job for some in parts for job in jobs(lm, (Vocabulary(),), some)]
    found = [reading[0].values for reading in lm.read(mixed)]
    for job, one in zip(mixed, found, strict=True):
        same(one, lm.read([job])[0][0].values, name)
    apart = float((found[0] - found[3]).detach().abs().max())
    assert apart > 1e-4


@pytest.mark.parametrize("name", ["t5", "bart"])
def test_a_decoder_behind_its_own_keys_and_values(name: str) -> None:
    """Without positions of its own and with the same states crossed, the decoder's prefix is what it read before."""
    lm = tiny(name)
    part = of_tokens(lm, FIRST)
    assert {place: tuple(one.shape) for place, one in part.places.items()} == dict.fromkeys(
        ("encoder", "decoder", "cross"), (2, 2, 4, 5, 8)
    )
    assert part.shift == 0
    kept = lm.read(jobs(lm, (Vocabulary(),), {"prefix": Prefix(part.tensors())}))
    moved = lm.read(jobs(lm, (Vocabulary(),), {"prefix": part}))
    for one, other in zip(kept, moved, strict=True):  # a seq2seq model's text stays where it is
        same(one[0].values, other[0].values, name)


def test_cross_keys_are_of_what_the_encoder_makes_of_the_tokens() -> None:
    lm = tiny("t5")
    made = of_tokens(lm, FIRST).tensors()
    with torch.no_grad():
        states = lm.model.get_encoder()(input_ids=torch.tensor([FIRST])).last_hidden_state[0]
        layer = lm.model.get_decoder().block[1].layer[1].EncDecAttention
        for side, projection in enumerate((layer.k, layer.v)):
            torch.testing.assert_close(
                made["cross"][1, side].transpose(0, 1).reshape(5, -1), projection(states), atol=1e-6, rtol=0
            )


def test_a_shifted_prefix_takes_of_the_window() -> None:
    lm = tiny("gpt2")
    part = normal(lm, lm.window - 2, seed=0, positions="shifted")
    with pytest.raises(TooLong):
        row(lm, "The cat sat on the mat {mask}", {"prefix": part})
    assert len(row(lm, "{text} {mask}", {"prefix": normal(lm, lm.window - 4, seed=0, positions="shifted")},
                   text="the cat sat on the old town " * 30)) == 4  # fmt: skip
    with pytest.raises(SettingError, match="leaves no room for text in a window"):
        normal(lm, lm.window, seed=0, positions="shifted")
    assert normal(lm, lm.window, seed=0).length == lm.window


def test_says_what_it_cannot_start_from() -> None:
    with pytest.raises(SettingError, match="the text `` has no tokens in tiny-gpt2 to start from"):
        of_text(tiny("gpt2"), "")
    with pytest.raises(CannotAttach):
        of_text(tiny("deberta-v2"), "the cat")
    with pytest.raises(CannotAttach):
        of_tokens(ScriptedLM((), lambda text: {}), (1, 2))
    with pytest.raises(SettingError, match="can't be run in a window"):
        of_tokens(tiny("gpt2"), [7] * 1000)
    with pytest.raises(SettingError, match="`positions` can't be `moved`"):
        Prefix({}, positions="moved")
    with pytest.raises(SettingError, match="`dropout` is 1"):
        Prefix({}, dropout=1.0)
