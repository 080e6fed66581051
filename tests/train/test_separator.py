"""A learned vector after each demonstration."""

from dataclasses import replace

import pytest
import torch

from promptatlas.demos.pick import Fixed
from promptatlas.errors import DataError, SettingError
from promptatlas.parts.tokens import Tokens
from promptatlas.parts.vectors import Vectors
from promptatlas.prompting import Prompt
from promptatlas.testing.same import fingerprint
from promptatlas.testing.tasks import toy, toy_prompt
from promptatlas.testing.tiny import tiny
from promptatlas.text.template import Template
from promptatlas.train.run import Run
from promptatlas.train.separator import lasts, separated, taught

POOL = toy().train[:4]
QUERIES = toy().test[:5]
ORDERS = [(0, 1, 2, 3), (3, 2, 1, 0), (1, 3, 0, 2), (2, 0, 3, 1), (0, 2, 1, 3)]


def shown(prompt: Prompt) -> Prompt:
    return replace(prompt, demos=Fixed(POOL[:3]))


@pytest.mark.parametrize("family", ["bert", "roberta", "llama", "t5"])
def test_it_starts_as_the_mark_that_ends_a_text_to_the_bit(family: str) -> None:
    lm = tiny(family)
    prompt = separated(toy_prompt(), lm, "separator")
    (end,) = [at for at in range(len(lm.vectors)) if torch.equal(prompt.parts["separator"].weight[0], lm.vectors[at])]  # type: ignore[attr-defined]
    assert end in lm.special
    assert lm.pieces([end])[0] in ("[SEP]", "</s>")
    real = prompt.plus(separator=Tokens((end,)))
    row, other = (one.reader(lm).encode(shown(one).lines(lm, QUERIES[:1])[0])[0] for one in (prompt, real))
    assert [(span.kind, span.demo) for span in row.spans if span.name == "separator"] == [
        ("part", at) for at in range(3)
    ]
    assert other.ids.count(end) == 3 + row.ids.count(end), "after each demonstration, and not after the query"
    with torch.no_grad():
        assert torch.equal(shown(prompt).score(lm, QUERIES), shown(real).score(lm, QUERIES))
        assert not torch.equal(shown(prompt).score(lm, QUERIES), shown(toy_prompt()).score(lm, QUERIES))


def test_it_may_start_as_a_line_break_and_one_that_is_there_stays() -> None:
    lm = tiny("llama")
    line = separated(toy_prompt(), lm, "separator", "line")
    assert torch.equal(line.parts["separator"].weight[0], lm.vectors[lm.tokens("a\n")[-1]])  # type: ignore[attr-defined]
    assert separated(line, lm, "separator") == line
    mine = replace(line, between=Template.parse("\n{@separator}"))
    assert separated(mine, lm, "separator") == mine
    assert str(separated(replace(line, between=toy_prompt().between), lm, "separator").between) == "{@separator}"
    with pytest.raises(SettingError, match="can't start from `begin`"):
        separated(toy_prompt(), lm, "separator", "begin")


def test_the_last_of_each_order_is_asked_after_those_in_front_of_it() -> None:
    asked, told = lasts(POOL, ORDERS[:2])
    assert [one.target for one in asked] == [POOL[3].target, POOL[0].target]
    assert told.pick(tiny("bert"), asked) == [[*POOL[:3]], [POOL[3], POOL[2], POOL[1]]]
    with pytest.raises(DataError, match="no demonstrations were told for the example `order 7`"):
        told.pick(tiny("bert"), [replace(asked[0], key="order 7")])


def learned(family: str, **given: object) -> tuple[Prompt, Prompt]:
    lm = tiny(family)
    start = shown(separated(toy_prompt(), lm, "separator")).plus(other=Vectors(torch.ones(1, lm.width)))
    orders = given.pop("orders", ORDERS)
    settings = {"lr": 0.1, "epochs": 2, "batch": 2, "patience": 2, "among": "labels", "seed": 0, "run": Run(), **given}
    return start, taught(start, lm, POOL, orders, "separator", **settings)


@pytest.mark.parametrize("family", ["bert", "llama", "t5"])
def test_training_moves_the_one_vector_and_nothing_else(family: str) -> None:
    before = fingerprint(tiny(family))
    start, end = learned(family, epochs=1, batch=8)
    assert not torch.equal(end.parts["separator"].weight, start.parts["separator"].weight)  # type: ignore[attr-defined]
    assert fingerprint(tiny(family)) == before
    assert end.plus(separator=start.parts["separator"]) == start, "the demonstrations are those it had, too"


def test_the_whole_vocabulary_teaches_otherwise_than_the_labels_do() -> None:
    assert learned("bert")[1] != learned("bert", among="vocabulary")[1]


@pytest.mark.parametrize("orders", [ORDERS[:1], [(0,), (1,)], []])
def test_too_little_to_learn_from_is_refused(orders: list[tuple[int, ...]]) -> None:
    with pytest.raises(SettingError, match="a separator is learned from"):
        learned("bert", orders=orders)
