import json
import math
import threading
import time
from pathlib import Path

import pytest
import torch
from tests.train import small

from promptatlas.errors import ArtifactError, SettingError
from promptatlas.prompting import Ensemble
from promptatlas.train.run import Cancelled, Event, Run


class Made:
    """Counts how often it is asked to make."""

    def __init__(self, value: object) -> None:
        self.value, self.times = value, 0

    def __call__(self) -> object:
        self.times += 1
        return self.value


def test_a_stage_is_made_once_and_read_by_the_next_run(tmp_path: Path) -> None:
    made = Made({"scores": [0.1, 1e-30], "who": "学生"})
    first, again = (Run(tmp_path).stage("teacher-0", made) for _ in range(2))
    assert first == again == made.value
    assert made.times == 1


def test_a_stage_comes_back_as_json_has_it_with_a_folder_or_without(tmp_path: Path) -> None:
    for run in (Run(), Run(tmp_path), Run(tmp_path)):
        assert run.stage("pair", lambda: (1, 2)) == [1, 2]


def test_a_stage_keeps_a_prompt(tmp_path: Path) -> None:
    prompt = small.prompt()
    Run(tmp_path).stage("soft", lambda: prompt)
    again = Run(tmp_path).stage("soft", Made(None))
    assert torch.equal(small.weight(again), small.weight(prompt))
    assert again.template == prompt.template


def test_a_stage_keeps_an_ensemble(tmp_path: Path) -> None:
    made = Ensemble(prompts=(small.prompt(), small.prompt(2)), weights=(0.25, 0.75))
    Run(tmp_path).stage("all", lambda: made)
    assert Run(tmp_path).stage("all", lambda: made).weights == (0.25, 0.75)


def test_a_stage_keeps_what_it_is_told_how_to_keep(tmp_path: Path) -> None:
    def ask() -> set[int]:
        return Run(tmp_path).stage(
            "set",
            lambda: {3, 1},
            save=lambda value, folder: (folder / "set.json").write_text(json.dumps(sorted(value))),
            load=lambda folder: set(json.loads((folder / "set.json").read_text())),
        )

    assert ask() == ask() == {1, 3}


def test_a_stage_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Run(tmp_path).stage("bad", fail)
    assert Run(tmp_path).stage("bad", lambda: 7) == 7


def test_stages_within_a_stage_are_kept_until_it_is_done(tmp_path: Path) -> None:
    inner = Made([1])

    def stopped() -> None:
        run.stage("inner", inner)
        raise Cancelled("stopped")

    run = Run(tmp_path)
    with pytest.raises(Cancelled):
        run.stage("outer", stopped)
    run = Run(tmp_path)
    assert run.stage("outer", lambda: run.stage("inner", inner)) == [1]
    assert inner.times == 1
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.json")) == [
        "stages/outer/value.json"
    ]


def test_without_a_folder_nothing_is_kept() -> None:
    made, run = Made(1), Run()
    run.stage("one", made)
    run.stage("one", made)
    assert made.times == 2


@pytest.mark.parametrize("key", ["", "a/b", "../up", ".hidden", "a b"])
def test_a_key_that_cannot_be_a_folder_is_refused(key: str, tmp_path: Path) -> None:
    with pytest.raises(SettingError) as caught:
        Run(tmp_path).stage(key, lambda: 1)
    assert str(caught.value) == f"`{key}` can't be the key of a stage\n\nhint: letters, digits, `.`, `-` and `_` only"


@pytest.mark.parametrize("value", [{1, 2}, object(), float("nan")])
def test_a_value_that_is_not_json_is_refused_with_a_folder_or_without(value: object, tmp_path: Path) -> None:
    for run in (Run(), Run(tmp_path)):
        with pytest.raises(SettingError, match=r"not JSON.*\n\nhint: give `save` and `load`"):
            run.stage("odd", lambda: value)


def test_a_stage_that_was_tampered_with_is_an_error(tmp_path: Path) -> None:
    Run(tmp_path).stage("one", lambda: 1)
    (tmp_path / "stages" / "one" / "value.json").write_text("[1,")
    with pytest.raises(ArtifactError, match="is not whole"):
        Run(tmp_path).stage("one", lambda: 1)


def test_places_are_counted_by_stage_so_that_a_skipped_stage_moves_none(tmp_path: Path) -> None:
    def places() -> list[Path | None]:
        run = Run(tmp_path)
        found = [run.place()]
        run.stage("kept", lambda: [str(run.place()), str(run.place())])
        return [*found, run.place()]

    assert places() == places() == [tmp_path / "tune-0", tmp_path / "tune-1"]
    assert Run().place() is None


def test_a_run_stops_when_cancelled() -> None:
    with pytest.raises(Cancelled) as caught:
        Run(cancelled=lambda: True).check("search", 3, 10)
    assert str(caught.value) == "stopped: cancelled (search, 3 of 10)\n\nhint: with a run folder it could go on"


def test_a_run_stops_when_its_minutes_are_over(tmp_path: Path) -> None:
    run = Run(tmp_path, minutes=0.001)
    run.check("search")
    time.sleep(0.1)
    with pytest.raises(Cancelled) as caught:
        run.check("search")
    hint = f"fit again with the folder `{tmp_path}` to go on"
    assert str(caught.value) == f"stopped: 0.001 minutes are over (search)\n\nhint: {hint}"


def test_a_run_stops_when_its_operations_are_used_up() -> None:
    run = Run(budget=2.0 * 4 * 5 * 6 + 1)
    for _ in range(2):
        run.check("search")
        with run.counted():
            torch.ones(4, 5) @ torch.ones(5, 6)
    with pytest.raises(Cancelled, match="the budget of 241 operations is used up"):
        run.check("search")


def test_one_step_in_sixteen_is_counted_after_the_first_few():
    run = Run(budget=math.inf)
    for size in range(1, 40):  # a product of this many rows, 2 x 1 x 1 operations each
        with run.counted():
            torch.ones(size, 1) @ torch.ones(1, 1)
    counted = [1, 2, 3, 4, *[4] * 12, *[17] * 16, *[33] * 7]  # rows of the last step that was counted
    assert run.spent == 2 * sum(counted)
    with Run().counted():
        torch.ones(2, 1) @ torch.ones(1, 1)


def test_a_default_run_never_stops_and_hears_nothing() -> None:
    run = Run()
    with run.counted():
        run.check("search")
    run.tell(Event("search"))
    assert run.figures == {}


def test_events_reach_whoever_listens() -> None:
    heard: list[Event] = []
    Run(listen=heard.append).tell(Event("search", 1, 2, {"loss": 0.5}))
    assert heard == [Event("search", 1, 2, {"loss": 0.5})]


def test_figures_are_those_of_the_own_thread() -> None:
    run, seen = Run(), []
    run.note({"steps": 1})
    other = threading.Thread(target=lambda: (run.note({"steps": 2}), seen.append(dict(run.figures))))
    other.start()
    other.join()
    assert seen == [{"steps": 2}]
    assert run.figures == {"steps": 1}
