"""The demo: what it compares, prints and writes; with few steps, and as it is."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.cli.small import Command

from promptatlas.bench.report import Report
from promptatlas.cli import demo as module
from promptatlas.cli.demo import METHODS, TASKS, compared
from promptatlas.data.read import read_task
from promptatlas.lm.load import load

TUNED = ("fine_tuning", "pattern_tuning", "prompt_tuning", "p_tuning_v2")
QUICK: Mapping[str, Mapping[str, Any]] = {name: {"steps": 1, "batch": 2} for name in TUNED}


@pytest.fixture(scope="module")
def told() -> list[tuple[str, int, int]]:
    return []


@pytest.fixture(scope="module")
def report(told: list[tuple[str, int, int]]) -> Report:
    tasks = [replace(task, test=task.test[:16]) for task in map(read_task, TASKS)]
    return compared(load("pocket-masked"), tasks, [0], 2, settings=QUICK, tell=lambda *some: told.append(some))


def test_every_method_is_measured_on_every_task(report: Report):
    names = ["majority", "naive Bayes", *METHODS]
    assert [entry.method for entry in report.entries] == names
    assert {(cell.method, cell.task) for cell in report.cells} == {(name, task) for name in names for task in TASKS}
    for cell in report.cells:
        assert set(cell.figures) - {"answering"} == {"accuracy", "trained", "stored", "seconds"}
        assert 0 <= cell.figures["accuracy"] <= 1
    assert not any(value is None for entry in report.entries for value in entry.values)


def test_what_is_trained_and_stored_is_counted(report: Report):
    figures = {cell.method: cell.figures for cell in report.cells if cell.task == "reviews"}
    assert figures["zero-shot"]["trained"] == figures["zero-shot, calibrated"]["trained"] == 0
    whole, vectors = figures["fine-tuning, pattern"], figures["prompt tuning"]
    assert whole["trained"] > 4_000_000 > 100_000 > vectors["trained"] > 0
    assert whole["stored"] > 4 * whole["trained"] > vectors["stored"] > 4 * vectors["trained"]


def test_three_answers_can_be_read(report: Report):
    assert len(report.samples) == 3
    for one in report.samples:
        assert one.text
        assert one.target in one.probabilities
        assert sum(one.probabilities.values()) == pytest.approx(1, abs=1e-5)
        assert len(one.words) == 5
        assert list(one.words.values()) == sorted(one.words.values(), reverse=True)


def test_progress_is_told(report: Report, told: list[tuple[str, int, int]]):
    assert [what for what, _, _ in told][:2] == ["reviews, seed 0: zero-shot", "reviews, seed 0: zero-shot, calibrated"]
    assert [done for _, done, _ in told] == [2, 3, 4, 5, 6, 7, 10, 11, 12, 13, 14, 15]
    assert {total for _, _, total in told} == {16}


def test_the_command_prints_a_table_and_writes_a_page(
    command: Command, report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "compared", lambda *some, **named: report)
    done = command("demo", "--out", tmp_path / "page.html")
    assert done.code == 0
    for entry in report.entries:
        assert entry.method in done.out
    assert report.samples[1].text in done.out
    assert done.err.strip() == f"the same with charts: {tmp_path / 'page.html'}"
    assert (tmp_path / "page.html").read_text("utf-8") == report.to_html()
    assert [one.name for one in tmp_path.iterdir()] == ["page.html"]


def test_the_command_gives_json(command: Command, report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "compared", lambda *some, **named: report)
    done = command("demo", "--json", "--out", tmp_path / "page.html")
    assert done.json() == json.loads(json.dumps({**report.to_json(), "page": str(tmp_path / "page.html")}))


def test_what_can_not_be_is_said_before_any_work(command: Command, tmp_path: Path):
    assert command.fails("demo", "--seeds", 0) == ("`--seeds` is 0", "give 1 or more")
    message, hint = command.fails("demo", "--out", tmp_path / "no" / "page.html")
    assert message == f"`{tmp_path}/no/page.html` can't be written: there is no folder `{tmp_path}/no`"
    assert hint == "give another --out"


def test_a_page_that_can_not_be_written_leaves_nothing(
    command: Command, report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(*some: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "compared", lambda *some, **named: report)
    monkeypatch.setattr(Path, "write_text", full)
    done = command("demo", "--out", tmp_path / "page.html")
    assert done.code == 2
    assert "can't be written: No space left on device" in done.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_demo_as_it_is(tmp_path: Path):
    began = os.times()
    words = [sys.executable, "-m", "promptatlas", "demo", "--json", "--out", str(tmp_path / "demo.html")]
    done = subprocess.run(words, capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    ended = os.times()
    assert ended.children_user + ended.children_system - began.children_user - began.children_system < 240
    means = {row["method"]: row["values"] for row in json.loads(done.stdout)["rows"]}
    headlines = {name: values["headlines, accuracy"]["mean"] for name, values in means.items()}
    assert max(headlines, key=headlines.__getitem__) not in ("majority", "naive Bayes", "zero-shot")
