"""Examples that a model writes itself."""

from dataclasses import replace

import pytest

from promptatlas.data.example import Example
from promptatlas.demos.orders import orders
from promptatlas.demos.pick import Fixed
from promptatlas.demos.pool import texts
from promptatlas.errors import DataError, NeedsError, TooLong
from promptatlas.lm.ask import Decode
from promptatlas.prompting import Prompt
from promptatlas.prompting.make import prompt
from promptatlas.search.probe import _beginning, mute, ordered, parsed, probes, written
from promptatlas.testing.tasks import toy, toy_prompt
from promptatlas.testing.tiny import tiny
from promptatlas.text.runs import SlotRun, TextRun

WORDS = {"pets": "good", "weather": "bad"}
TASK = toy()
SHOWN = TASK.train[:2]
SAMPLED = Decode(max_new=12, temperature=1.0, n=3)
FIELDS = {"text": "the old cat", "other": "sat on it"}


def said(one: Prompt, fields: dict[str, str]) -> str:
    """The example with its word, and what parts it from the next, from the first field on."""
    shown = Example(fields, "pets")
    runs = one.template.render(fields, word="good", demos=(), between=one.between)
    text = "".join(run.text for run in runs if isinstance(run, TextRun))
    start = min(text.index(str(value)) for name, value in shown.fields.items() if name in one.template.fields)
    return text[start:] + "\n\nthe next"


@pytest.mark.parametrize(
    "template",
    [
        "{text} It was {mask}",
        "Review: {text}\nSentiment: {mask}",
        "{text} {mask}",
        "{text!|lower}, which is {label}: {mask}",
        "premise: {text}\nhypothesis: {other}\nprediction: {mask}",
        "{mask} news: {text}",
        "{text}? {mask}, {other}",
    ],
)
def test_what_is_shown_is_read_again(template: str) -> None:
    one = prompt(template, WORDS)
    fields = {name: FIELDS[name] for name in one.template.fields}
    assert mute(one, tiny("gpt2")) == ""
    assert parsed(one, said(one, fields)) == (fields, True)


def test_chinese_is_read_again() -> None:
    one = prompt("{text}。这很{mask}", {"pets": "好", "weather": "差"})
    assert parsed(one, "今天下雨。这很差") == ({"text": "今天下雨"}, True)
    direct = prompt("{text}{mask}", {"pets": "好", "weather": "差"})
    assert parsed(direct, "今天下雨差") == ({"text": "今天下雨"}, True)


def test_what_goes_on_otherwise_ends_at_a_line_or_a_sentence() -> None:
    one = prompt("{text} It was {mask}", WORDS)
    assert parsed(one, " so it\nwent") == ({"text": "so it"}, False)
    assert parsed(one, 'He said "no." And then') == ({"text": 'He said "no."'}, False)
    assert parsed(one, "no end") == ({"text": "no end"}, False)
    two = prompt("premise: {text} hypothesis: {other} {mask}", WORDS)
    assert parsed(two, "no second field") == ({}, False)


@pytest.mark.parametrize(
    ("template", "family", "why"),
    [
        ("{text} It was {mask}", "bert", "can't write, as it is masked"),
        ("{text} {other} {mask}", "gpt2", "can't be told apart"),
        ("{text} {mask} {other}", "gpt2", "can't be told apart"),
        ("{text} and {other}: {mask}", "t5", "fills one field"),
        ("It was {mask}", "gpt2", "has no field"),
    ],
)
def test_what_nothing_can_be_written_for(template: str, family: str, why: str) -> None:
    one = prompt(template, WORDS)
    assert why in mute(one, tiny(family))
    with pytest.raises(NeedsError, match="no examples can be written"):
        written(one, tiny(family), [SHOWN], SAMPLED)


def test_where_writing_begins() -> None:
    one = prompt("Topics.\n{demos}{mask} news: {text}.", WORDS)
    text = {kind: _beginning(one, tiny(kind), SHOWN) for kind in ("gpt2", "t5")}
    first, second = (str(one.fields["text"]) for one in SHOWN)
    whole = ["".join(run.text if isinstance(run, TextRun) else "_" for run in runs) for runs in text.values()]
    front = f"Topics.\ngood news: {first}.\n\nbad news: {second}.\n\ngood news: _"
    assert whole == [front, front + "."]
    assert all(sum(isinstance(run, SlotRun) for run in runs) == 1 for runs in text.values())


@pytest.mark.parametrize("family", ["llama", "t5"])  # the others' tokens are bytes, and untrained they write no text
def test_models_write_texts_that_are_new_and_the_same_by_seed(family: str) -> None:
    lm, one = tiny(family), toy_prompt()
    shown = [[SHOWN[at] for at in order] for order in orders(SHOWN)]
    found = written(one, lm, shown, SAMPLED, shortest=2)
    assert found == written(one, lm, shown, SAMPLED, shortest=2)
    assert found.examples
    assert found.examples != written(one, lm, shown, replace(SAMPLED, seed=1), shortest=2).examples
    told = [texts(example) for example in found.examples]
    assert told == sorted(set(told) - {texts(example) for example in SHOWN})
    assert all(example.target is None and len(str(example.fields["text"]).split()) >= 2 for example in found.examples)


def test_probes_are_written_or_given() -> None:
    settings = {"most": 5, "how": SAMPLED, "shortest": 1}
    one, lm = toy_prompt(), tiny("bert")
    found = probes(one, lm, TASK, [SHOWN], source="auto", **settings)  # type: ignore[arg-type]
    assert found.told["source"] == f"unlabeled, since `{lm.name}` can't write, as it is masked"
    assert set(map(texts, found.examples)) < set(map(texts, TASK.unlabeled))
    train = replace(TASK, unlabeled=(), train=TASK.train[:5])
    found = probes(one, lm, train, [SHOWN], source="given", **settings)  # type: ignore[arg-type]
    assert found.told == {"source": "train", "probes": 3}
    with pytest.raises(NeedsError, match="can't write"):
        probes(one, lm, TASK, [SHOWN], source="written", **settings)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="no text to look at"):
        probes(one, tiny("gpt2"), TASK, [SHOWN], source="auto", most=5, how=SAMPLED, shortest=99)
    with pytest.warns(UserWarning, match="1 texts can't be of 2 labels"):
        probes(one, lm, replace(TASK, unlabeled=TASK.unlabeled[:1]), [SHOWN], source="given", **settings)  # type: ignore[arg-type]


def test_a_window_that_is_too_short_is_an_error() -> None:
    one, lm = toy_prompt(), tiny("gpt2")
    with pytest.raises(TooLong, match="a row needs"):
        written(one, lm, [TASK.train], SAMPLED)
    with pytest.raises(TooLong, match=f"4 demonstrations and {lm.window - 30} to write"):
        written(one, lm, [TASK.train[:4]], Decode(max_new=lm.window - 30, temperature=1.0))
    with pytest.raises(TooLong, match="32 demonstrations and the longest text"):
        ordered(one, lm, [TASK.train], TASK.unlabeled[:1])


def test_each_order_is_read_as_a_prompt_of_its_own() -> None:
    lm, one = tiny("llama"), toy_prompt()
    shown = [[TASK.train[at] for at in order] for order in orders(TASK.train[:3])]
    found = ordered(one, lm, shown, TASK.unlabeled)
    assert found.shape == (6, 8, 2)
    for row, some in zip(found, shown, strict=True):
        alone = replace(one, demos=Fixed(tuple(some))).score(lm, TASK.unlabeled).detach().double().exp()
        assert row.sub(alone).abs().max() < 1e-5
