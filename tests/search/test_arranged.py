"""Orders judged by what a prompt loses."""

from collections.abc import Callable
from dataclasses import replace
from itertools import permutations

import pytest
import torch

from promptatlas.data.example import Example
from promptatlas.demos.pick import Fixed
from promptatlas.errors import SettingError, TooLong
from promptatlas.search.arranged import Judge, arranged, check_room, losses
from promptatlas.testing.tasks import toy, toy_prompt
from promptatlas.testing.tiny import tiny

POOL = toy().train[:4]
DEV = toy().dev[:3]


def test_an_example_is_shown_the_others_alone() -> None:
    lm, order = tiny("bert"), (2, 0, 1)
    prompt = arranged(toy_prompt(), POOL, order)
    shown = [[one.key for one in line.demos] for line in prompt.lines(lm, POOL)[0]]
    keys = [POOL[at].key for at in order]
    assert shown == [[key for key in keys if key != one.key] for one in POOL]
    assert [len(some) for some in shown] == [2, 2, 2, 3], "one fewer where it is among them itself"


def test_equal_examples_of_two_keys_are_two() -> None:
    twin = replace(POOL[0], key="twin")
    lines, _ = arranged(toy_prompt(), (*POOL, twin), (0, 4)).lines(tiny("bert"), [POOL[0]])
    assert [one.key for one in lines[0].demos] == ["twin"]


@pytest.mark.parametrize("family", ["bert", "llama", "t5"])
@pytest.mark.parametrize("among", ["labels", "vocabulary"])
def test_a_loss_is_the_mean_over_examples_one_by_one(family: str, among: str) -> None:
    lm, orders = tiny(family), [(0, 1, 2), (2, 1, 0), (3, 1, 0)]
    found = losses(toy_prompt(), lm, POOL, orders, POOL, metric="likelihood", among=among)
    wrong = losses(toy_prompt(), lm, POOL, orders, POOL, metric="accuracy", among=among)
    for order, loss, percent in zip(orders, found, wrong, strict=True):
        lost, missed = [], 0
        for one in POOL:
            others = tuple(POOL[at] for at in order if POOL[at] is not one)
            alone = replace(toy_prompt(), demos=Fixed(others))
            with torch.no_grad():
                (scores,) = (alone.score if among == "labels" else alone.mass)(lm, [one])
            lost.append(-float(scores[alone.labels.index(str(one.target))]))
            missed += alone.labels[int(scores.argmax())] != one.target
        assert loss == pytest.approx(sum(lost) / 4, abs=1e-4)
        assert percent == pytest.approx(25 * missed)


def test_the_longest_demonstrations_have_to_fit() -> None:
    lm = tiny("bert")
    long = replace(POOL[0], fields={"text": "film " * (lm.window // 2)}, key="long")
    check_room(toy_prompt(), lm, POOL, 2, DEV)
    check_room(toy_prompt(), lm, (*POOL, long), 1, POOL)
    with pytest.raises(TooLong) as caught:
        check_room(toy_prompt(), lm, (*POOL, long), 3, (long,))
    assert str(caught.value) == (
        f"the window of {lm.window} tokens doesn't hold the longest 3 of 5 demonstrations and a text"
        "\n\nhint: show fewer (k), or cut them in the template, as `{text|words(20)}` does"
    )


def judge(dev: tuple[Example, ...] = (), *, most: int | None = None, few: int = 2, **given: object) -> Judge:
    return Judge(
        toy_prompt(), tiny("bert"), POOL, dev, "likelihood", "labels", most, few, lambda _, ask: ask(), **given
    )  # type: ignore[arg-type]


def test_dev_examples_choose_among_the_best_few() -> None:
    one = judge(DEV, few=3)
    ranked = one.fitness.ranked(list(permutations(range(4))))
    one.see(ranked)
    few = [order for _, order in ranked[:3]]
    lost = losses(toy_prompt(), tiny("bert"), POOL, few, DEV, metric="likelihood", among="labels")
    assert one.best.order == few[lost.index(min(lost))]
    assert one.best.loss == pytest.approx(min(lost), abs=1e-5)
    assert one.best.fitness == next(value for value, order in ranked if order == one.best.order)
    figures = one.figures()
    assert figures["evaluations"] == 27
    assert figures["rows"] == 24 * 4 + 3 * 3
    assert figures["mean"] == pytest.approx(sum(value for value, _ in ranked) / 24)


def test_without_dev_examples_the_pool_chooses() -> None:
    one = judge()
    ranked = one.fitness.ranked([(0, 1), (1, 0), (2, 3)])
    one.see(ranked)
    assert (one.best.loss, one.best.order) == ranked[0]
    assert one.best.loss == one.best.fitness
    assert "dev_loss" not in one.figures()


def test_the_best_is_kept_and_what_came_since_is_counted() -> None:
    one = judge()
    for value, idle in ((0.5, 0), (0.5, 1), (0.7, 2), (0.4, 0), (0.6, 1)):
        one.see([(value, (0, 1))])
        assert one.idle == idle
    assert one.best.loss == 0.4


def test_another_prompt_is_asked_anew() -> None:
    asked: list[str] = []

    def keep(name: str, ask: Callable[[], list[float]]) -> list[float]:
        asked.append(name)
        return ask()

    one = Judge(toy_prompt(), tiny("bert"), POOL, DEV, "likelihood", "labels", None, 1, keep)
    one.see(one.fitness.ranked([(0, 1), (1, 0)]))
    one.see(one.fitness.ranked([(0, 1), (1, 0)]))
    assert asked == ["read-0-0", "read-2-0"]
    one.turn(replace(toy_prompt(), between=toy_prompt().template.parse(" ; ")))
    one.see(one.fitness.ranked([(0, 1), (1, 0)]))
    assert asked[2:] == ["read-2-1", "read-4-1"]
    assert str(one.seen[-1].prompt.between) == " ; "


def test_nothing_to_judge_by_dev_is_refused() -> None:
    with pytest.raises(SettingError, match="the best 0 of a generation"):
        judge(few=0)
