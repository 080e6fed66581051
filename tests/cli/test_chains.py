"""Prompts that reason, as a user fits, measures and uses them."""

from pathlib import Path

import pytest
from tests.cli.small import Command, write

import promptatlas
from promptatlas.score.chains import Chains

ROWS = [
    {"question": "the cat", "rationale": "a dog ran", "answer": "3"},
    {"question": "the rain fell", "rationale": "the old hill", "answer": "1,200"},
    {"question": "a movie", "rationale": "the worst film", "answer": "7"},
]
TEMPLATE = ("--template", "Question : {question} Answer : {mask}")
QUICK = ("--set", "k=2", "--set", "max_new=6")


@pytest.fixture
def sums(tmp_path: Path) -> Path:
    for split in ("train", "test"):
        write(tmp_path / "sums" / f"{split}.jsonl", ROWS)
    return tmp_path / "sums"


def test_chains_are_fitted_measured_and_shown(command: Command, sums: Path, writer: Path) -> None:
    out = sums.parent / "out"
    assert command("fit", "chain_of_thought", "--task", sums, "--lm", writer, *TEMPLATE, *QUICK, "--out", out).code == 0
    kept = promptatlas.open(out)
    assert isinstance(kept.view, Chains)
    metrics = command("evaluate", out, "--task", sums, "--json").json()["metrics"]
    assert next(iter(metrics)) == "number_match"
    (sums / "a.txt").write_text("".join(f"{row['question']}\n" for row in ROWS))
    lines = command("predict", out, sums / "a.txt").lines()
    answers = kept.predict(promptatlas.load(writer), [row["question"] for row in ROWS])
    assert [line["text"] for line in lines] == [one.value for one in answers]
    assert [line["chains"] for line in lines] == [list(one.texts) for one in answers]
    assert metrics["invalid"] == pytest.approx(sum(line["text"] is None for line in lines) / 3)
    assert all(("why" in line) is (line["text"] is None) for line in lines)
    (short,) = command("predict", out, sums / "a.txt", "--max-new", 2).lines()[:1]
    assert lines[0]["chains"][0].startswith(short["chains"][0])
    assert lines[0]["chains"] != short["chains"]


def test_drawn_chains_vote(command: Command, sums: Path, writer: Path) -> None:
    out, more = sums.parent / "out", ("--set", "chains=6", "--set", "temperature=1.5", "--set", "answer=text")
    pattern = ("--set", "form={rationale} The answer is {label}.")
    fitted = command(
        "fit", "self_consistency", "--task", sums, "--lm", writer, *TEMPLATE, *QUICK, *more, *pattern, "--out", out
    )
    assert fitted.code == 0, fitted
    (sums / "a.txt").write_text("the cat\n")
    (line,) = command("predict", out, sums / "a.txt").lines()
    assert len(line["chains"]) == 6
    assert line == command("predict", out, sums / "a.txt").lines()[0]
    assert command.fails("predict", out, sums / "a.txt", "--beams", 2) == (
        f"{sums / 'a.txt'}:1: 6 chains that are searched by 2 beams can't vote",
        "draw them: temperature=0.7, beams=1",
    )


def test_the_default_template_would_tell_the_reasoning_and_is_refused(
    command: Command, sums: Path, writer: Path
) -> None:
    done = command("fit", "chain_of_thought", "--task", sums, "--lm", writer, *QUICK, "--out", sums.parent / "out")
    assert done.code == 2
    assert done.err.endswith(
        "error: `{question} {rationale} {mask}` shows `rationale`, which is what is to be written\n"
        'hint: leave it out of the template: "Q: {question} A: {mask}"\n'
    )
    assert not (sums.parent / "out").exists()
