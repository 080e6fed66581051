"""A task of numbers, as a user runs it."""

import json
from pathlib import Path

import pytest
from tests.cli.small import Command, write

ROWS = [("a joy", 5), ("good fun", 4), ("so-so", 3), ("a bore", 1)]
ABOUT = {"kind": "number", "low": 1, "high": 5, "template": "{text} It was {mask}."}
WORDS = ("--words", "low=terrible", "--words", "high=great")


@pytest.fixture
def stars(tmp_path: Path) -> Path:
    folder = tmp_path / "stars"
    folder.mkdir()
    write(folder / "train.jsonl", [{"text": text, "label": number} for text, number in ROWS])
    (folder / "task.json").write_text(json.dumps(ABOUT), encoding="utf8")
    return folder


def test_fit_evaluate_predict_show(command: Command, stars: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = command("fit", "pattern_tuning", "--task", stars, *WORDS, "--set", "steps=20", "--out", out, "--json")
    assert done.code == 0, done
    found = command("evaluate", out, "--task", stars, "--json").json()
    assert list(found["metrics"]) == ["pearson", "spearman", "mean_absolute_error", "invalid"]
    assert found["metrics"]["pearson"] > 0.8
    lines = command("predict", out, stars / "train.jsonl").lines()
    assert [set(line) for line in lines] == [{"number", "probabilities"}] * 4
    assert all(1 < line["number"] < 5 for line in lines)
    assert lines[0]["number"] == pytest.approx(1 + 4 * lines[0]["probabilities"]["high"])
    assert "interval" in command("show", out).out


def test_words_for_both_ends_are_asked_for(command: Command, stars: Path, tmp_path: Path) -> None:
    done = command("fit", "pattern_tuning", "--task", stars, "--out", tmp_path / "out")
    assert done.code != 0
    assert "`stars` has no words of its own for the ends of its range" in done.err
    done = command("fit", "pattern_tuning", "--task", stars, "--words", "bad=bad", "--words", "good=good",
                   "--out", tmp_path / "out")  # fmt: skip
    assert "a number is told by words of the labels `low` and `high`, and these are `bad`, `good`" in done.err
