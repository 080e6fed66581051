import pytest

from promptatlas.data.example import Example
from promptatlas.data.interval import POLES, Interval
from promptatlas.data.task import Task
from promptatlas.errors import DataError, SettingError


@pytest.mark.parametrize(
    ("scores", "labels", "number"),
    [
        ([1.0, 2.0], POLES, 3.655293),
        ([1.0, 2.0], POLES[::-1], 5 - 3.655293),
        ([3.0, 3.0], POLES, 2.5),
        ([0.0, -float("inf")], POLES, 0.0),
    ],
)
def test_a_number_lies_between_the_poles(scores: list[float], labels: tuple[str, ...], number: float) -> None:
    answer = Interval(0.0, 5.0).fold(Example(key="a"), [scores], labels)
    assert answer.value == pytest.approx(number, abs=1e-6)
    assert answer.confidence == max(answer.probabilities.values())
    assert set(answer.probabilities) == set(POLES)


def test_where_a_target_is() -> None:
    view = Interval(1.0, 5.0)
    assert [view.place(Example({}, one)) for one in (1.0, 3.0, 4.0, 5.0)] == [0, 0.5, 0.75, 1]
    assert [view.pole(Example({}, one)) for one in (1.0, 3.0, 3.1)] == ["low", "low", "high"]
    with pytest.raises(DataError, match=r"example `e` has the target 5\.5, outside the interval from 1 to 5"):
        view.place(Example({}, 5.5, "e"))
    with pytest.raises(DataError, match="an example has the target 'good', which is no number"):
        view.place(Example({}, "good"))


def test_what_it_refuses() -> None:
    with pytest.raises(SettingError, match=r"an interval from 5.0 to 5.0"):
        Interval(5.0, 5.0)
    with pytest.raises(SettingError, match="a number is told by words of the labels `low` and `high`, and these are"):
        Interval(0.0, 5.0).fold(Example(), [[0.0, 0.0]], ("bad", "good"))


def test_a_task_of_numbers_has_the_view_of_its_range() -> None:
    train = tuple(Example({"text": "a"}, float(one)) for one in (2, 4))
    task = Task(name="t", kind="number", fields=("text",), train=train, low=0.0)
    assert task.view == Interval(0.0, 4.0)
    assert Interval.build(task.view.config(), {}) == task.view
