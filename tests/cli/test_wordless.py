"""`promptatlas fit` on a task whose labels have no words."""

from pathlib import Path

import pytest
from tests.cli.small import TEMPLATE, Command, task

from promptatlas.artifact.load import load
from promptatlas.score.words import Words


def test_petal_needs_no_words(command: Command, tmp_path: Path) -> None:
    data, out = task(tmp_path / "task"), tmp_path / "out"
    done = command(
        "fit",
        "petal",
        "--task",
        data,
        "--template",
        TEMPLATE,
        "--set",
        "words=3",
        "--set",
        "most=99",
        "--out",
        out,
        "--json",
    )
    assert done.code == 0, done
    found = load(out).words
    assert isinstance(found, Words)
    assert [len(found.words[label]) for label in ("good", "bad")] == [3, 3]
    assert command("evaluate", out, "--task", data, "--json").json()["examples"] == 8
    assert "words good" in command("show", out, "--json").out


@pytest.mark.parametrize("method", ["fine_tuning", "feature_extraction"])
def test_a_head_needs_no_words(command: Command, tmp_path: Path, method: str) -> None:
    data, out = task(tmp_path / "task"), tmp_path / "out"
    done = command("fit", method, "--task", data, "--template", "{text}", "--set", "steps=2", "--out", out)
    assert done.code == 0, done
    assert load(out).labels == ("bad", "good")


def test_a_template_and_patterns_are_still_looked_at(command: Command, tmp_path: Path) -> None:
    words = ("fit", "petal", "--task", task(tmp_path / "task"), "--out", tmp_path / "out")
    assert "has no template of its own" in command.fails(*words)[0]
    assert "has no field `body`" in command.fails(*words, "--template", "{body} {mask}")[0]
    assert "needs a template with a slot" in command.fails(*words, "--template", "{text}")[0]
