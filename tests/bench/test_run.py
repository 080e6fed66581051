"""Cells of a plan: measured, kept, gone on with, and summed up."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.cli import small

from promptatlas.bench.picture import draw
from promptatlas.bench.plan import Asked, Plan, plan_from
from promptatlas.bench.report import Cell
from promptatlas.bench.run import Outcome, measured_line, read_lines, run, work
from promptatlas.bench.summary import summary
from promptatlas.bench.tasks import halved, left
from promptatlas.bench.watch import Watcher, enough
from promptatlas.data.example import Example
from promptatlas.data.read import read_task
from promptatlas.data.task import Task
from promptatlas.errors import DataError, SettingError
from promptatlas.methods.prompt_tuning import PromptTuning
from promptatlas.prompting.make import prompt
from promptatlas.testing.tasks import toy_tags
from promptatlas.testing.tiny import tiny

METHODS = ["majority", "naive Bayes", "zero-shot", "soft"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a task and a language model."""
    folder = tmp_path_factory.mktemp("bench")
    small.task(folder / "tea")
    small.saved_model("bert", folder / "lm")
    return folder


def plan(home: Path, **changed: Any) -> Plan:
    grid = {"methods": METHODS, "tasks": ["tea"], "lms": [str(home / "lm")], "shots": [2], "seeds": 2}
    values = {
        "title": "Tea <b>",
        "against": "zero-shot",
        "test": 6,
        "tasks": {"tea": {"template": "{text} It was {mask}.", "words": {"good": "great", "bad": "terrible"}}},
        "methods": {
            "zero-shot": {"chain": []},
            "soft": {"chain": ["prompt_tuning"], "settings": {"steps": 4, "length": 2, "batch": 2}},
        },
        "grid": [grid],
    }
    return plan_from({**values, **changed})


@pytest.fixture(scope="module")
def outcome(home: Path) -> Outcome:
    return run(plan(home), home / "cells.jsonl", data=home)


def test_every_cell_is_measured(home: Path, outcome: Outcome):
    assert (outcome.missing, dict(outcome.failed)) == (0, {})
    assert [(one.method, one.seed) for one in outcome.cells] == [(name, seed) for seed in (0, 1) for name in METHODS]
    for one in outcome.cells:
        assert (one.shots, len(one.hits)) == (2, 6)
        assert one.figures["accuracy"] == one.hits.count("1") / 6
    soft = next(one for one in outcome.cells if one.method == "soft")
    assert soft.figures["trained"] == 2 * 32
    assert soft.figures["steps"] == 4
    assert soft.figures["operations"] > 1000
    assert soft.figures["enough"] in range(5)
    assert "operations" not in outcome.cells[-1].figures  # the first draw alone is looked at closely


def test_what_was_measured_is_not_measured_again(home: Path, outcome: Outcome):
    text = (home / "cells.jsonl").read_bytes()
    told: list[tuple[str, int, int]] = []
    again = run(plan(home), home / "cells.jsonl", data=home, tell=lambda *some: told.append(some))
    assert again.cells == outcome.cells
    assert told == []
    assert (home / "cells.jsonl").read_bytes() == text


def test_a_run_goes_on_after_a_line_that_was_cut_off(home: Path, outcome: Outcome, tmp_path: Path):
    whole = (home / "cells.jsonl").read_bytes()
    cut = tmp_path / "cells.jsonl"
    cut.write_bytes(whole[: whole.rstrip().rfind(b"\n") + 30])
    told: list[tuple[str, int, int]] = []
    again = run(plan(home), cut, data=home, tell=lambda *some: told.append(some))
    assert told == [("tea, soft, seed 1", 8, 8)]
    assert [one.hits for one in again.cells] == [one.hits for one in outcome.cells]
    assert read_lines(cut).keys() == read_lines(home / "cells.jsonl").keys()


def test_other_settings_are_another_cell(home: Path, outcome: Outcome):
    wider = plan(home, methods={**_methods(), "soft": {"chain": ["prompt_tuning"], "settings": {"steps": 3}}})
    found = run(wider, home / "cells.jsonl", data=home, minutes=0.0)
    assert found.missing == 2  # of both seeds
    assert {one.method for one in found.cells} == {"majority", "naive Bayes", "zero-shot"}


def test_settings_of_one_task_are_the_method_s_there(home: Path):
    soft = {"chain": ["prompt_tuning"], "settings": {"steps": 4, "batch": 2}, "on": {"tea": {"length": 3}}}
    asked = Asked(method="soft", task="tea", lm=str(home / "lm"), shots=2, seed=0)
    assert work(plan(home, methods={**_methods(), "soft": soft}), asked, home).contender.methods[0].length == 3


def test_a_task_may_be_measured_by_another_metric(home: Path):
    told = {"template": "{text} It was {mask}.", "words": {"good": "great", "bad": "terrible"}}
    other = plan(home, tasks={"tea": {**told, "metric": "micro_f1", "none": "bad"}})
    asked = Asked(method="zero-shot", task="tea", lm=str(home / "lm"), shots=2, seed=0)
    assert work(other, asked, home).key != work(plan(home), asked, home).key
    line = measured_line(other, asked, home)
    assert "micro_f1" in line["cell"]["figures"]
    assert line["cell"]["hits"] == ""  # what is right or not would tell of accuracy


def test_a_label_may_be_left_out():
    some = tuple(Example({"text": one}, one) for one in ("tea", "milk", "rum"))
    drinks = Task(name="drinks", kind="label", labels=("tea", "milk", "rum"), fields=("text",), train=some, test=some)
    less = left(drinks, ["rum"])
    assert less.labels == ("tea", "milk")
    assert [one.target for one in (*less.train, *less.test)] == ["tea", "milk"] * 2
    with pytest.raises(SettingError, match="`drinks` has no label `ram` to do without"):
        left(drinks, ["ram"])


def test_a_cell_that_can_not_be_is_told_and_the_others_go_on(home: Path, tmp_path: Path):
    grid = {"methods": ["zero-shot", "bitfit"], "tasks": ["tea"], "lms": [str(home / "t5")], "shots": [2], "seeds": 1}
    small.saved_model("t5", home / "t5")
    found = run(plan(home, grid=[grid]), tmp_path / "cells.jsonl", data=home)
    assert [one.method for one in found.cells] == ["zero-shot"]
    ((asked, why),) = found.failed.items()
    assert asked.method == "bitfit"
    assert why.startswith("`bitfit`") or "bias" in why


def test_other_files_are_left_alone(tmp_path: Path, home: Path):
    path = tmp_path / "mine.jsonl"
    path.write_text('{"text": "dear diary"}\n', "utf-8")
    with pytest.raises(DataError) as raised:
        run(plan(home), path, data=home)
    assert (raised.value.message, raised.value.hint) == (f"{path}:1 is no line of a comparison", "give another --out")
    assert path.read_text("utf-8") == '{"text": "dear diary"}\n'


def test_a_line_says_what_it_was_measured_with(home: Path):
    one = plan(home)
    line = measured_line(one, one.cells[3], home)
    assert line["methods"][0].startswith("prompt_tuning PromptTuning(length=2,")
    assert set(line["versions"]) == {"promptatlas", "torch", "transformers"}
    assert json.loads(json.dumps(line)) == line


def test_a_task_without_a_template_for_the_model_is_refused(home: Path):
    one = plan(home, tasks={"tea": {"template": {"causal": "{text} {mask}"}}})
    with pytest.raises(SettingError, match="`tea` has no template for a masked model"):
        run(one, home / "none.jsonl", data=home)


def test_who_needs_dev_examples_gets_half_of_train(home: Path):
    task = read_task(str(home / "tea")).few(4, 0, dev=0)
    halves = halved(task)
    assert len(halves.train) == len(halves.dev) == 4
    assert {one.key for one in halves.train} | {one.key for one in halves.dev} == {one.key for one in task.train}
    assert sorted(str(one.target) for one in halves.dev) == ["bad", "bad", "good", "good"]


def test_half_of_what_has_no_labels_is_every_other_example():
    halves = halved(toy_tags(train=9))
    assert [one.key for one in halves.train] == [f"train {at}" for at in (0, 2, 4, 6, 8)]
    assert [one.key for one in halves.dev] == [f"train {at}" for at in (1, 3, 5, 7)]


@pytest.mark.slow
def test_processes_side_by_side_say_the_same(home: Path, outcome: Outcome, tmp_path: Path):
    found = run(plan(home), tmp_path / "cells.jsonl", data=home, processes=2)
    assert [one.hits for one in found.cells] == [one.hits for one in outcome.cells]


def test_the_summary_shows_tables_and_differences(home: Path, outcome: Outcome):
    found = summary(plan(home), outcome.cells)
    ((report, ahead),) = found.parts
    assert [one.method for one in report.entries] == METHODS
    assert ahead is not None
    assert [name for name, _ in ahead.rows] == ["majority", "naive Bayes", "soft"]
    shares = {one.method: sum(c.figures["accuracy"] for c in outcome.cells if c.method == one.method) / 2
              for one in report.entries}  # fmt: skip
    for name, (difference,) in ahead.rows:
        assert difference is not None
        assert difference.mean == pytest.approx(shares[name] - shares["zero-shot"])
        assert difference.low <= difference.mean <= difference.high
    text = found.to_markdown()
    assert text.startswith("# Tea <b>\n")
    assert "Points ahead of zero-shot" in text
    page = found.to_html()
    assert "Tea &lt;b&gt;" in page
    assert "<b>" not in page.replace("<b>Tea", "")
    assert json.loads(json.dumps(found.to_json()))["tables"][0]["ahead"]["rows"].keys() == {n for n, _ in ahead.rows}


def test_what_a_method_saves_is_told_where_labels_differ(home: Path):
    def cell(method: str, shots: int, seed: int, share: float) -> Cell:
        return Cell(method=method, task="tea", lm="lm", seed=seed, figures={"accuracy": share}, shots=shots)

    grid = {"methods": ["zero-shot", "soft"], "tasks": ["tea"], "lms": ["lm"], "shots": [10, 20, 40], "seeds": 1}
    cells = [cell("zero-shot", n, 0, y) for n, y in ((10, 0.5), (20, 0.6), (40, 0.7))]
    cells += [cell("soft", n, 0, y) for n, y in ((10, 0.6), (20, 0.7), (40, 0.8))]
    found = summary(plan(home, grid=[grid], worth=[["soft", "zero-shot"]]), cells)
    assert found.worths == (("soft", "zero-shot", "tea", "lm", "+15.0", "0.600 to 0.700", "10, 20, 40"),)
    assert "| soft | zero-shot | tea | lm | +15.0 |" in found.to_markdown()
    assert "+15.0" in found.to_html()
    assert found.to_json()["worths"][0]["labels saved"] == "+15.0"


def test_the_picture_is_a_picture(outcome: Outcome, tmp_path: Path):
    draw(outcome.cells, tmp_path / "all.png")
    assert (tmp_path / "all.png").read_bytes()[:4] == b"\x89PNG"
    assert [one.name for one in tmp_path.iterdir()] == ["all.png"]


def test_watching_changes_nothing_that_is_learned(home: Path):
    lm, task = tiny("bert"), read_task(str(home / "tea"))
    start = prompt("{text} It was {mask}.", {"good": "great", "bad": "terrible"})
    watcher = Watcher(lm, task, task.test)
    method = PromptTuning(length=2, steps=20, batch=2)
    assert method.fit(lm, task, start, run=watcher.begin()) == method.fit(lm, task, start)
    assert [step for step, _ in watcher.scores] == list(range(2, 21, 2))
    assert watcher.figures()["steps"] == 20


def test_enough_is_the_first_step_near_the_last_score():
    assert enough([(0, 0.5), (10, 0.75), (20, 0.77), (30, 0.8)]) == 20
    assert enough([(0, 0.9), (10, 0.8)]) == 0


def _methods() -> dict[str, Any]:
    return {"zero-shot": {"chain": []}}
