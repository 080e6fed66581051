"""`promptatlas bench`."""

import json
from pathlib import Path

import pytest
from tests.cli import small
from tests.cli.small import Command


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    small.task(tmp_path / "data" / "tea")
    path = tmp_path / "plan.toml"
    lm = small.saved_model("bert", tmp_path / "lm")
    path.write_text(
        f"""
[tasks.tea]
template = "{{text}} It was {{mask}}."
words = {{ good = "great", bad = "terrible" }}
[methods.zero-shot]
chain = []
[[grid]]
methods = ["majority", "zero-shot"]
tasks = ["tea"]
lms = ["{lm}"]
shots = [2]
seeds = 2
""",
        "utf-8",
    )
    return path


def test_a_plan_is_measured_kept_and_shown(command: Command, plan: Path):
    done = command("bench", plan, "--data", plan.parent / "data")
    assert done.code == 0
    assert "zero-shot" in done.out
    for ending in ("jsonl", "md", "html", "png"):
        assert (plan.parent / f"plan.{ending}").stat().st_size > 0
    lines = (plan.parent / "plan.jsonl").read_text("utf-8")
    assert len(lines.splitlines()) == 4
    again = command("bench", plan, "--data", plan.parent / "data", "--json").json()
    assert (plan.parent / "plan.jsonl").read_text("utf-8") == lines
    assert [row["method"] for row in again["tables"][0]["rows"]] == ["majority", "zero-shot"]


def test_a_report_measures_nothing(command: Command, plan: Path):
    found = command.fails("bench", plan, "--data", plan.parent / "data", "--report")
    assert found == ("no cell of the plan was measured", "leave --report out, or give more --minutes")
    assert not (plan.parent / "plan.md").exists()


def test_half_a_run_says_what_is_missing(command: Command, plan: Path):
    out = plan.parent / "out" / "some.jsonl"
    command("bench", plan, "--data", plan.parent / "data", "--out", out)
    lines = out.read_text("utf-8").splitlines()
    out.write_text("\n".join(lines[:2]) + "\n", "utf-8")
    done = command("bench", plan, "--data", plan.parent / "data", "--out", out, "--report", "--json")
    assert done.err == "2 of 4 cells are missing; the same command goes on\n"
    assert [row["method"] for row in json.loads(done.out)["tables"][0]["rows"]] == ["majority", "zero-shot"]


def test_what_is_wrong_is_named(command: Command, plan: Path, tmp_path: Path):
    assert command.fails("bench", tmp_path / "none.toml")[0] == (
        f"the plan `{tmp_path / 'none.toml'}` can't be read: No such file or directory"
    )
    assert command.fails("bench", plan, "--processes", "0") == ("`--processes` is 0", "give 1 or more")
    assert command.fails("bench", plan, "--data", tmp_path / "none") == (
        f"there is no folder of tasks `{tmp_path / 'none'}`",
        "give --data, or set PROMPTATLAS_DATA",
    )
