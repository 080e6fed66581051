"""Generations of teachers: sizes, who labels for whom, what is drawn."""

import warnings
from collections import Counter
from dataclasses import replace

import pytest
import torch

from promptatlas.data.example import Example
from promptatlas.errors import SettingError
from promptatlas.testing.tasks import toy, toy_prompt
from promptatlas.testing.tiny import tiny
from promptatlas.train.distil import Lessons, Teacher
from promptatlas.train.generations import labelled, others, raised, wanted
from promptatlas.train.optim import Optim
from promptatlas.train.run import Run

TEXTS = tuple(Example({"text": f"text {at}"}, None, str(at)) for at in range(200))
TASK = toy()


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_generation_is_five_times_the_one_before():
    ten = [Example({}, "a")] * 6 + [Example({}, "b")] * 4
    new = [sum(wanted(ten, ("a", "b"), 5.0, generation).values()) for generation in (1, 2)]
    assert new == [40, 240]
    assert wanted(ten, ("a", "b"), 5.0, 1) == {"a": 24, "b": 16}  # as many of each label as among the examples
    assert sum(wanted((), ("a", "b"), 5.0, 1).values()) == 10


def test_nobody_labels_for_itself():
    for count in (2, 3, 12):
        for at in range(count):
            for seed in range(5):
                found = others(count, at, 0.25, draw(seed))
                assert at not in found
                assert len(found) == max(1, round(0.25 * (count - 1)))
    assert others(3, 1, 1.0, draw()) == (0, 2)


def test_texts_get_the_label_found_and_none_is_drawn_twice():
    scores = torch.randn(200, 2, generator=draw(7))
    found = labelled(TEXTS, scores, {"a": 30, "b": 20}, draw())
    assert Counter(one.target for one in found) == {"a": 30, "b": 20}
    assert len({one.key for one in found}) == 50
    for one in found:
        assert "ab"[int(scores[int(one.key)].argmax())] == one.target


def test_the_surer_is_the_likelier_drawn():
    scores = torch.zeros(200, 2)
    scores[:100, 0] = 0.05  # hardly a
    scores[:10, 0] = 6.0  # surely a
    scores[150:, 1] = 1.0
    found = Counter(one.key for seed in range(200) for one in labelled(TEXTS, scores, {"a": 10, "b": 0}, draw(seed)))
    sure = sum(count for key, count in found.items() if int(key) < 10) / 10
    unsure = sum(count for key, count in found.items() if int(key) >= 10) / 140
    assert sure > 1.5 * unsure


def test_a_label_nobody_finds_is_left_out_with_a_warning():
    scores = torch.tensor([[1.0, 0.0]]).repeat(200, 1)
    with pytest.warns(UserWarning, match="no text is found to be `b`"):
        found = labelled(TEXTS, scores, {"a": 5, "b": 5}, draw())
    assert {one.target for one in found} == {"a"}


def test_nothing_is_said_of_a_label_of_which_nothing_is_wanted():
    scores = torch.tensor([[1.0, 0.0]]).repeat(200, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = labelled(TEXTS, scores, {"a": 5, "b": 0}, draw())
    assert {one.target for one in found} == {"a"}


def test_all_are_taken_where_there_are_too_few():
    scores = torch.tensor([[0.0, 1.0]]).repeat(200, 1)
    scores[:3, 0] = 2.0
    found = labelled(TEXTS, scores, {"a": 10, "b": 10}, draw())
    assert Counter(one.target for one in found) == {"a": 3, "b": 10}


def test_without_examples_the_likeliest_are_drawn_whatever_is_likelier_still():
    scores = torch.tensor([[1.0, 0.0]]).repeat(200, 1) + torch.randn(200, 1, generator=draw(1)) * 0.1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = labelled(TEXTS, scores, {"a": 5, "b": 5}, draw(), likeliest=100)
    assert Counter(one.target for one in found) == {"a": 5, "b": 5}


def raised_with(opinions: dict[int, float], learned: dict[str, list[str]]) -> None:
    """Three teachers, the opinion of each a constant; `learned` takes what the second generation learned from."""
    start = toy_prompt()
    staff = [Teacher(start, 1.0)] * 3
    given = Lessons(
        lm=tiny("bert"), texts=TEXTS, alpha=0.0, steps=1, batch=1, unlabeled_batch=1, optim=Optim(lr=1e-3), run=Run()
    )

    def opinion(key: str, teacher: object, examples: tuple[Example, ...], seed: int) -> torch.Tensor:
        learned[key] = [f"{one.key} {one.target}" for one in examples]
        slot = int(key.rsplit("-", 1)[1])
        noise = torch.randn(200, 2, generator=draw(slot))
        return (noise * opinions[slot]).log_softmax(-1)

    object.__setattr__(given, "opinion", opinion)
    raised(staff, given, TASK.train, generations=1, growth=3.0, share=1.0, seed=0)


def test_what_one_learns_next_is_not_its_own_opinion():
    before: dict[str, list[str]] = {}
    after: dict[str, list[str]] = {}
    raised_with({0: 1.0, 1: 1.0, 2: 1.0}, before)
    raised_with({0: 1.0, 1: -4.0, 2: 1.0}, after)  # the second says the contrary, and surer
    assert before["generation-1-teacher-1"] == after["generation-1-teacher-1"]
    assert before["generation-1-teacher-0"] != after["generation-1-teacher-0"]
    assert len(before["generation-1-teacher-1"]) == 3 * len(TASK.train)
    assert before["generation-0-teacher-0"] == [f"{one.key} {one.target}" for one in TASK.train]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"generations": 0}, "`generations` is 0"),
        ({"growth": 1.0}, "`growth` is 1.0"),
        ({"share": 0.0}, "`share` is 0.0"),
    ],
)
def test_settings_out_of_range_are_refused(changed: dict[str, float], message: str):
    given = Lessons(
        lm=tiny("bert"), texts=TEXTS, alpha=0.0, steps=1, batch=1, unlabeled_batch=1, optim=Optim(lr=1e-3), run=Run()
    )
    settings = {"generations": 1, "growth": 5.0, "share": 0.25, **changed}
    with pytest.raises(SettingError) as raised_error:
        raised([Teacher(toy_prompt(), 1.0)] * 2, given, TASK.train, seed=0, **settings)
    assert raised_error.value.message == message


def test_one_alone_has_nobody_to_learn_from():
    given = Lessons(
        lm=tiny("bert"), texts=TEXTS, alpha=0.0, steps=1, batch=1, unlabeled_batch=1, optim=Optim(lr=1e-3), run=Run()
    )
    with pytest.raises(SettingError, match="a single model has none to learn from"):
        raised([Teacher(toy_prompt(), 1.0)], given, replace(TASK).train, generations=1, growth=5.0, share=1.0, seed=0)
