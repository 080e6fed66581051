"""Choosing from a portfolio: what is tried, what is not, what it takes, and what the page says."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from promptatlas.auto.find import Found, find
from promptatlas.auto.portfolio import Entry, entries, portfolio
from promptatlas.auto.report import to_json, to_markdown
from promptatlas.data.example import Example
from promptatlas.errors import NeedsError, SettingError
from promptatlas.lm.scripted import ScriptedLM
from promptatlas.prompting import Ensemble
from promptatlas.prompting.make import prompt
from promptatlas.registry import has
from promptatlas.score.temper import Temper
from promptatlas.testing.tasks import WORDS, toy, toy_prompt
from promptatlas.testing.tiny import tiny
from promptatlas.train.folds import Selection
from promptatlas.train.run import Cancelled, Event, Run

TASK = toy(train=12, dev=0, test=4)
HOW = Selection(folds=3, nested=True, tempered=True)
CHEAP = ("zero-shot", "in-context")
BOTH = ("zero-shot", "fine-tuning")


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """The portfolio's own entries, with few steps."""

    def fewer(shown: int, patterns: Sequence[str] = ()) -> tuple[Entry, ...]:
        return tuple(
            replace(
                one,
                chain=tuple(
                    (name, {**given, "steps": 3} if has(name, "steps") else given) for name, given in one.chain
                ),
            )
            for one in entries(shown, patterns)
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("promptatlas.auto.portfolio.entries", fewer)
        yield


@pytest.fixture(scope="module")
def found() -> Found:
    return find(tiny("bert"), TASK, toy_prompt(), how=HOW, only=BOTH)


def test_everything_there_is_can_be_tried_where_nothing_is_lacking() -> None:
    lm = tiny("bert")
    texts = replace(TASK, unlabeled=(Example({"text": "the cat ran home"}),))
    full = portfolio(lm, texts, toy_prompt(), shown=4)
    assert [one.name for one in full.candidates] == [one.name for one in entries(4)]
    assert full.left_out == {}


def test_what_lacks_something_is_left_out_and_why() -> None:
    some = portfolio(tiny("bert"), replace(TASK, unlabeled=()), toy_prompt(), shown=4)
    assert dict(some.left_out) == {"PET": "`pet` needs unlabeled examples, and `toy` has none"}
    blind = ScriptedLM(["good", "bad"], lambda text: {"good": 0.0})
    assert {"prompt tuning", "fine-tuning"} <= portfolio(blind, TASK, toy_prompt(), shown=4).left_out.keys()


def test_each_pattern_is_tried_as_it_is() -> None:
    lm, other = tiny("bert"), "A {mask} movie : {text}"
    some = portfolio(lm, TASK, toy_prompt(), shown=4, patterns=(other,), only=("zero-shot",))
    assert [one.name for one in some.candidates] == ["zero-shot", "zero-shot, pattern 2"]
    assert str(some.candidates[1].prompt.template) == other


def test_a_name_that_is_not_known_is_named() -> None:
    with pytest.raises(SettingError, match="the portfolio has no `fine tuning`") as raised:
        portfolio(tiny("bert"), TASK, toy_prompt(), shown=4, only=("fine tuning",))
    assert raised.value.hint == "did you mean `fine-tuning` or `pattern tuning`?"


def test_the_least_loss_is_chosen_from_singles_and_pairs(found: Found) -> None:
    assert [one.name for one in found.choice.scores] == ["zero-shot", "fine-tuning", "zero-shot + fine-tuning"]
    assert found.choice.scores[found.choice.at].value == min(one.value for one in found.choice.scores)
    assert found.choice.chosen == " + ".join(found.members)
    assert found.choice.expected is not None
    assert set(found.choice.expected.chosen) <= {one.name for one in found.choice.scores}


def test_labels_in_another_order_answer_together_all_the_same(found: Found) -> None:
    start = toy_prompt()
    turned = prompt(start.template, dict(reversed(WORDS.items())))
    assert turned.labels == start.labels[::-1]
    other = find(tiny("bert"), TASK, turned, how=HOW, only=BOTH)
    assert [one.loss for one in other.choice.scores] == pytest.approx([one.loss for one in found.choice.scores])
    assert other.prompt.labels == TASK.labels


def test_the_chosen_one_is_learned_from_all_and_says_so(found: Found) -> None:
    assert found.prompt.history[0].method == "selection"
    assert found.prompt.history[0].figures["expected_accuracy"] == found.choice.expected.accuracy  # type: ignore[union-attr]
    members = found.prompt.prompts if isinstance(found.prompt, Ensemble) else (found.prompt,)
    temperature = found.choice.scores[found.choice.at].temperature
    kept = [one for member in members for one in member.calibration if isinstance(one, Temper)]
    assert [one.temperature for one in kept] == ([temperature] * len(members) if temperature != 1 else [])


def test_one_is_enough_where_no_ensemble_is_wanted() -> None:
    alone = find(tiny("bert"), TASK, toy_prompt(), how=HOW, only=CHEAP, most=1)
    assert [one.name for one in alone.choice.scores] == list(CHEAP)


def test_same_seed_same_choice() -> None:
    one, other = (find(tiny("bert"), TASK, toy_prompt(), how=HOW, only=CHEAP, seed=3) for _ in range(2))
    assert one.choice == other.choice
    assert one.prompt == other.prompt


def test_what_takes_more_than_is_left_is_dropped_and_the_rest_is_chosen_from() -> None:
    free = find(tiny("bert"), TASK, toy_prompt(), how=HOW, only=BOTH)
    least, most = free.operations["zero-shot"], free.operations["fine-tuning"]
    assert 0 < least < most
    tight = find(tiny("bert"), TASK, toy_prompt(), how=HOW, only=BOTH, budget=2 * least + most / 3)
    assert tight.members == ("zero-shot",)
    assert "it would take about" in tight.dropped["fine-tuning"]
    assert sum(tight.operations.values()) < tight.budget
    none = find(tiny("bert"), TASK, toy_prompt(), how=HOW, only=BOTH, budget=1.2 * least)
    assert "one fold alone takes more" in none.dropped["fine-tuning"]
    assert "**fine-tuning**: one fold alone" in to_markdown(none, TASK)


def test_a_search_that_was_stopped_goes_on_and_ends_the_same(found: Found, tmp_path: Path) -> None:
    heard: list[Event] = []
    stopped = Run(tmp_path, cancelled=lambda: len(heard) > 20, listen=heard.append)
    with pytest.raises(Cancelled):
        find(tiny("bert"), TASK, toy_prompt(), how=HOW, only=BOTH, run=stopped)
    assert list(tmp_path.rglob("value.json"))
    again = find(tiny("bert"), TASK, toy_prompt(), how=HOW, only=BOTH, run=Run(tmp_path))
    assert again.choice == found.choice
    assert again.prompt == found.prompt
    assert again.operations.keys() == found.operations.keys()


def test_only_the_training_examples_are_looked_at() -> None:
    poisoned = replace(TASK, dev=(Example({"text": 5}, target="pets"),), test=())
    find(tiny("bert"), poisoned, toy_prompt(), how=HOW, only=CHEAP)
    with pytest.raises(SettingError, match="by the training examples alone"):
        find(tiny("bert"), TASK, toy_prompt(), how=Selection(kind="dev"))


def test_other_kinds_of_task_are_refused() -> None:
    with pytest.raises(NeedsError, match="needs a task of kind label, and `toy` is of kind choice"):
        find(tiny("bert"), replace(TASK, kind="choice"), toy_prompt())


def test_the_page_says_what_was_chosen_why_and_what_to_expect(found: Found) -> None:
    page = to_markdown(found, TASK)
    best = found.choice.scores[found.choice.at]
    assert f"{best.loss:.3f} nats each" in page
    assert f"**Expect {found.choice.expected.accuracy:.0%} right" in page  # type: ignore[union-attr]
    for name in ("zero-shot", "fine-tuning"):
        assert name in page
    told = to_json(found, TASK)
    assert told["chosen"] == list(found.members)
    assert told["majority"] == max(Counter(str(one.target) for one in TASK.train).values()) / 12


def test_guessing_is_called_guessing() -> None:
    """A model that says the same of everything can't be better than one label."""
    words = sorted(
        {word for one in TASK.train for word in str(one.fields["text"]).split()} | {"It", "was", "good", "bad"}
    )
    dull = ScriptedLM(words, lambda text: {"good": -0.1, "bad": -2.0})
    start = prompt("{text} It was {mask}", WORDS)
    found = find(dull, TASK, start, how=HOW, only=("zero-shot",), most=1)
    assert found.choice.scores == ()  # one candidate: nothing is compared
    assert "nothing was compared" in to_markdown(found, TASK)
    two = find(dull, TASK, start, how=HOW, only=("zero-shot",), patterns=("It was {mask} {text}",))
    assert "hardly better than always giving one label" in to_markdown(two, TASK)
