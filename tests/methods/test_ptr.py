"""PTR: the sheet's oracles and invariants."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch

from promptatlas.data.example import Example
from promptatlas.errors import DataError, NeedsError, SettingError, WordError
from promptatlas.methods.ptr import PTR
from promptatlas.parts.weights import full
from promptatlas.prompting import Prompt
from promptatlas.prompting.make import prompt
from promptatlas.score.own import Own
from promptatlas.score.slots import SlotWords
from promptatlas.testing import check_method, tiny, toy, toy_pairs, toy_pairs_prompt, toy_prompt
from promptatlas.testing.tiny import names
from promptatlas.train.loss import Batch, generator, nll
from promptatlas.train.slotwise import Slotwise, at_slots, slotwise

TASK, START = toy_pairs(), toy_pairs_prompt()
BATCH = Batch(TASK.train[:4], (0, 1, 2, 3), 0, generator(0))
PLACES = torch.tensor([[0, 0], [1, 1], [0, 1]])  # A = person, born; B = org, founded; C = person, founded
SLOTS = [torch.tensor([[2.0, 1.0]]), torch.tensor([[0.5, 1.5]])]


def loss(prompt: Prompt, lm: Any, weight: float = 1.0) -> torch.Tensor:
    return Slotwise(weight)(prompt, lm, BATCH)


def test_worked_example() -> None:
    labels = torch.tensor([[2.5, 2.5, 3.5]])
    torch.testing.assert_close(slotwise(SLOTS, labels, PLACES, [2]), torch.tensor([0.864706]), atol=1e-6, rtol=0)
    torch.testing.assert_close(slotwise(SLOTS, labels, PLACES, [2], 0.0), torch.tensor([0.551445]), atol=1e-6, rtol=0)
    shifted = [one + 3 for one in SLOTS]  # what all candidates of a slot share counts for nothing
    torch.testing.assert_close(slotwise(shifted, labels + 6, PLACES, [2]), torch.tensor([0.864706]), atol=1e-6, rtol=0)


def test_where_every_combination_is_a_label_the_label_costs_what_its_slots_do() -> None:
    every = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]])
    labels = torch.stack([SLOTS[0][:, a] + SLOTS[1][:, b] for a, b in every.tolist()], -1)
    for at in range(4):
        whole = slotwise(SLOTS, labels, every, [at], 0.0)
        torch.testing.assert_close(slotwise(SLOTS, labels, every, [at]), 1.5 * whole)  # the mean of two is half


@pytest.mark.parametrize("name", names("masked"))
def test_with_one_slot_it_is_twice_the_loss_of_label_words(name: str) -> None:
    lm, task = tiny(name), toy()
    one = replace(toy_prompt(), words=SlotWords(words={"pets": ("good",), "weather": ("bad",)}))
    batch = Batch(task.train[:4], (0, 1, 2, 3), 0, generator(0))
    with torch.no_grad():
        torch.testing.assert_close(Slotwise()(one, lm, batch), 2 * nll(toy_prompt(), lm, batch))


@pytest.mark.parametrize("name", names("masked"))
def test_without_the_slots_it_is_the_loss_of_the_prompt(name: str) -> None:
    with torch.no_grad():
        torch.testing.assert_close(loss(START, tiny(name), 0.0), nll(START, tiny(name), BATCH), atol=1e-5, rtol=0)


def test_the_loss_by_hand() -> None:
    lm = tiny("bert")
    rows = START.reader(lm).encode(START.lines(lm, BATCH.examples)[0])
    found = []
    for row, example in zip(rows, BATCH.examples, strict=True):
        logits = lm.model(input_ids=torch.tensor([row.ids])).logits[0]
        words, slots = {"pets": ("good", "mat"), "weather": ("bad", "town")}, START.template.slots
        ids = {
            label: [lm.word(word, START.template.before(slot))[0] for word, slot in zip(some, slots, strict=True)]
            for label, some in words.items()
        }
        found_there = [
            logits[slot.positions[0]][[ids["pets"][at], ids["weather"][at]]] for at, slot in enumerate(row.slots)
        ]
        right = 0 if example.target == "pets" else 1
        each = torch.stack([-slot.log_softmax(-1)[right] for slot in found_there]).mean()
        found.append(each - sum(found_there).log_softmax(-1)[right])  # type: ignore[union-attr]
    torch.testing.assert_close(loss(START, lm).detach(), torch.stack(found).detach(), atol=1e-5, rtol=0)


def test_the_masks_are_as_many_for_every_label_and_a_long_text_takes_none() -> None:
    lm = tiny("bert")
    long = Example({"text": "the old grey town " * 200, "head": "cat", "tail": "hill"}, "pets")
    rows = START.reader(lm).encode(START.lines(lm, [*TASK.train, long])[0])
    assert {len(row.slots) for row in rows} == {2}
    assert rows[-1].cut() > 0
    assert START.predict(lm, [long])[0].value in START.labels


def test_a_mask_in_a_text_is_a_text() -> None:
    lm = tiny("bert")
    sly = Example({"text": "the [MASK] cat {mask}", "head": "cat", "tail": "[MASK]"}, "pets")
    (row,) = START.reader(lm).encode(START.lines(lm, [sly])[0])
    assert len(row.slots) == 2
    assert row.ids.count(lm.mask) == 2


def test_it_learns_pairs() -> None:
    lm, task = tiny("bert"), toy_pairs(train=64, seed=1)
    fitted = PTR(steps=60, batch=12, lr=3e-3).fit(lm, task, START)
    right = [one.value == example.target for one, example in zip(fitted.predict(lm, task.test), task.test, strict=True)]
    assert sum(right) / len(right) >= 0.9


RULES: Mapping[str, Any] = {"pets": ("good", "cat on", "mat"), "weather": {"reversed": "pets"}}
PROMPTS = ("{text}", " The {mask:a} {head!}", " {mask:b} {mask:c}", " the {mask:d} {tail!}")


@pytest.mark.parametrize(
    "start", [START, toy_prompt(), prompt("{text} {head} {mask} {tail}", {"pets": "cat", "weather": "rain"})]
)
def test_rules_bring_template_and_words(start: Prompt) -> None:
    fitted = PTR(prompts=PROMPTS, rules=RULES, steps=2).fit(tiny("bert"), TASK, start)
    assert str(fitted.template) == "".join(PROMPTS)
    assert fitted.words == SlotWords(
        words={"pets": ("good", "cat", "on", "mat"), "weather": ("mat", "on", "cat", "good")}
    )
    assert fitted.history[-1].settings["rules"] == {"pets": ["good", "cat on", "mat"], "weather": {"reversed": "pets"}}


def test_sub_prompts_alone_keep_the_words_and_rules_alone_the_template() -> None:
    lm = tiny("bert")
    one = PTR(prompts=("{head} {mask:a}", " {mask:b} {tail}"), steps=1).fit(lm, TASK, START)
    assert one.words == START.words
    other = PTR(rules={"pets": "cat on", "weather": "dog sat"}, steps=1).fit(lm, TASK, START)
    assert other.template == START.template
    assert other.words.word("weather") == ("dog", "sat")


@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_the_contract_over_several_slots(family: str) -> None:
    check_method(PTR(steps=3, batch=4), tiny(family), TASK, START)
    check_method(PTR(prompts=PROMPTS, rules=RULES, steps=3, batch=4), tiny(family), TASK, START)


def test_what_it_does_not_take() -> None:
    lm = tiny("bert")
    with pytest.raises(DataError, match="the label `weather` of `toy pairs` has no word"):
        PTR(rules={"pets": "good mat", "rain": "bad town"}).fit(lm, TASK, START)
    with pytest.raises(WordError, match="the rule of `pets` has the words `good old mat`"):
        PTR(rules={"pets": "good old mat", "weather": "bad town"}).fit(lm, TASK, START)
    with pytest.raises(NeedsError, match="needs label words"):
        PTR().fit(lm, TASK, replace(START, words=Own()))
    with pytest.raises(NeedsError, match="needs a masked model"):
        PTR().fit(tiny("llama"), TASK, START)
    with pytest.raises(SettingError, match="words don't stand at slots"):
        at_slots(toy_prompt().plus(weights=full(lm)), lm, TASK.train[:1])
