"""`promptatlas auto`: from a task to a saved prompt, and a page about it."""

import json
from pathlib import Path

from tests.cli.small import TEMPLATE, WORDS, Command, task

from promptatlas.artifact.load import load

FEW = ("--only", "zero-shot", "--only", "in-context", "--folds", 2)


def test_it_saves_the_best_and_a_page_that_says_why(command: Command, tmp_path: Path) -> None:
    folder, out = task(tmp_path / "task"), tmp_path / "best"
    done = command("auto", folder, "--template", TEMPLATE, *WORDS, *FEW, "--shots", 3, "--out", out)
    assert done.code == 0, done
    page = (tmp_path / "best.md").read_text("utf-8")
    assert "# The best found for task" in page
    assert "**Expect" in page
    assert "Expect" in done.out
    assert load(out).history[0].method == "selection"
    assert not (tmp_path / "best.run").exists()


def test_json_has_all_of_it(command: Command, tmp_path: Path) -> None:
    folder, out = task(tmp_path / "task"), tmp_path / "best"
    other = ("--template", "A {mask} thing, {text}")
    given = ("--template", TEMPLATE, *other, *WORDS, *FEW, "--shots", 3, "--most", 1, "--no-nested")
    told = command("auto", folder, *given, "--out", out, "--json").json()
    assert [one["name"] for one in told["choice"]["scores"]] == ["zero-shot", "zero-shot, pattern 2", "in-context"]
    assert told["expected"] is None
    assert told["out"] == str(out)


def test_labels_without_words_are_words_themselves(command: Command, tmp_path: Path) -> None:
    folder = task(tmp_path / "task")
    done = command("auto", folder, "--template", TEMPLATE, *FEW, "--shots", 3, "--out", tmp_path / "best")
    assert "the labels' own names are taken" in done.err
    assert done.code == 0


def test_what_stops_goes_on_with_the_same_command(command: Command, tmp_path: Path) -> None:
    folder, out = task(tmp_path / "task"), tmp_path / "best"
    asked = ("auto", folder, "--template", TEMPLATE, *WORDS, *FEW, "--shots", 3, "--out", out)
    stopped = command(*asked, "--minutes", 0)
    assert stopped.code == 130
    assert "the same command goes on" in stopped.err
    assert not out.exists()
    other = command.fails(*asked, "--seed", 5)
    assert other[1].startswith("go on with it: the same `promptatlas auto`")
    assert command(*asked).code == 0
    assert load(out)


def test_what_can_not_be_is_said(command: Command, tmp_path: Path) -> None:
    folder, out = task(tmp_path / "task"), tmp_path / "best"
    asked = ("auto", folder, "--template", TEMPLATE, *WORDS, "--shots", 3, "--out", out)
    assert command.fails(*asked, "--select", "dev")[0] == "there is no selection `dev` here"
    assert command.fails(*asked, "--only", "magic")[0] == "the portfolio has no `magic`"
    assert command.fails(*asked, "--folds", 40)[0].startswith("6 examples can't be divided")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["task"]
    assert json.loads((folder / "train.jsonl").read_text().splitlines()[0])["label"]
