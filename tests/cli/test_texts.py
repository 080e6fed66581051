"""Tasks whose answers are texts, as a user fits, measures and uses prompts for them."""

import json
from pathlib import Path

import pytest
import torch
from tests.cli.small import Command, only_names, task, write

import promptatlas
from promptatlas.cli import evaluate
from promptatlas.data.metric import measure
from promptatlas.lm.ask import Decode
from promptatlas.testing.tiny import tiny

ROWS = [
    {"mr": "the cat", "slots": [["animal", "cat"]], "references": ["a good dog", "a dog ran"]},
    {"mr": "the rain fell", "slots": [["weather", "rain"]], "references": ["the old hill"]},
    {"mr": "a movie", "slots": [], "references": ["a bad film", "an awful film", "the worst film"]},
]
QUICK = ("--set", "steps=3", "--set", "length=2", "--set", "batch=2")


@pytest.fixture
def cups(tmp_path: Path) -> Path:
    for split in ("train", "dev", "test"):
        write(tmp_path / "cups" / f"{split}.jsonl", ROWS)
    return tmp_path / "cups"


@pytest.fixture
def fitted(command: Command, cups: Path, writer: Path) -> Path:
    out = cups.parent / "out"
    made = command("fit", "prefix_tuning", "--task", cups, "--lm", writer, *QUICK, "--set", "mid=4", "--out", out)
    assert made.code == 0, made
    return out


@pytest.mark.parametrize("method", ["prefix_tuning", "prompt_tuning"])
def test_a_fit_needs_neither_template_nor_words(command: Command, cups: Path, writer: Path, method: str) -> None:
    out = cups.parent / "out"
    done = command("fit", method, "--task", cups, "--lm", writer, *QUICK, "--shots", 2, "--out", out, "--json")
    assert done.err == "`cups` has no template of its own, and gets `{mr} {mask}`; another is given by --template\n"
    report = done.json()
    assert (report["examples"], report["dev_examples"]) == (2, 2)
    assert 0 <= report["dev"]["bleu"] <= 100
    kept = promptatlas.open(out)
    assert kept.writes
    assert str(kept.template).removeprefix("{@soft}") == "{mr} {mask}"
    again = command("fit", method, "--task", cups, "--lm", writer, *QUICK, "--template", "{mr}:{mask}", "--out", out)
    assert again.err == f"the prompt that was in {out} is replaced\n"
    assert str(promptatlas.open(out).template).endswith("{mr}:{mask}")


@pytest.mark.parametrize("beams", [1, 3])
def test_evaluate_measures_what_predict_writes(command: Command, cups: Path, fitted: Path, beams: int) -> None:
    how = ("--beams", beams, "--max-new", 6)
    report = command("evaluate", fitted, "--task", cups, *how, "--json").json()
    assert list(report["metrics"]) == ["bleu", "chrf", "exact_match", "invalid"]
    write(cups / "asked.jsonl", [{"mr": one["mr"]} for one in ROWS])
    lines = command("predict", fitted, cups / "asked.jsonl", *how).lines()
    assert [line.keys() for line in lines] == [{"text", "probability"}] * 3
    wanted = measure("text", [tuple(one["references"]) for one in ROWS], [line["text"] for line in lines])
    assert report["metrics"] == pytest.approx({name: one.value for name, one in wanted.items()})
    assert report["intervals"]["chrf"] == pytest.approx([wanted["chrf"].low, wanted["chrf"].high])
    prompt, lm = promptatlas.open(fitted), promptatlas.load(promptatlas.open(fitted).history[-1].lm["name"])
    answers = prompt.predict(lm, [one["mr"] for one in ROWS], how=Decode(beams=beams, max_new=6))
    assert [line["text"] for line in lines] == [one.value for one in answers]
    assert [line["probability"] for line in lines] == pytest.approx([one.confidence for one in answers])


@pytest.mark.parametrize("beams", [1, 3])
def test_a_score_does_not_hang_on_the_batch(
    command: Command, cups: Path, fitted: Path, beams: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cups / "a.txt").write_text("".join(f"{one['mr']}\n" for one in ROWS) + "\n")
    how = ("--beams", beams, "--max-new", 6)
    predicted = [command("predict", fitted, cups / "a.txt", *how, "--chunk", chunk).lines() for chunk in (1, 256)]
    assert [line["text"] for line in predicted[0]] == [line["text"] for line in predicted[1]]
    found = []
    for size in (1, 2, 32):
        monkeypatch.setattr(evaluate, "WRITTEN", size)
        found.append(command("evaluate", fitted, "--task", cups, *how, "--json").json()["metrics"])
    assert found[0] == found[1] == found[2]


def test_no_more_is_written_than_was_asked(command: Command, cups: Path, fitted: Path) -> None:
    (cups / "a.txt").write_text("the cat\n")
    lm = tiny("gpt2", scale=6.0)
    few, more = (command("predict", fitted, cups / "a.txt", "--max-new", most).lines()[0]["text"] for most in (2, 8))
    assert more.startswith(few)
    assert len(lm.tokens(few)) <= 2 < len(lm.tokens(more))


def test_all_references_count(command: Command, cups: Path, fitted: Path) -> None:
    (cups / "a.txt").write_text("".join(f"{one['mr']}\n" for one in ROWS))
    said = [line["text"] for line in command("predict", fitted, cups / "a.txt", "--max-new", 6).lines()]
    told = [{**one, "references": ["another thing", text]} for one, text in zip(ROWS, said, strict=True)]
    write(cups / "test.jsonl", told)
    report = command("evaluate", fitted, "--task", cups, "--max-new", 6, "--json").json()
    assert report["metrics"]["exact_match"] == 1.0


def test_what_is_learned_is_written_and_ends(command: Command, cups: Path, writer: Path) -> None:
    rows = [{"mr": one["mr"], "references": one["references"][:1]} for one in ROWS[:2]]
    for split in ("train", "test"):
        write(cups / f"{split}.jsonl", rows)
    (cups / "dev.jsonl").unlink()
    sets = ("--set", "mid=0", "--set", "lr=0.1", "--set", "steps=100", "--set", "length=8", "--set", "batch=2")
    out = cups.parent / "out"
    assert command("fit", "prefix_tuning", "--task", cups, "--lm", writer, *sets, "--out", out).code == 0
    metrics = command("evaluate", out, "--task", cups, "--json").json()["metrics"]  # up to 100 tokens may be written
    assert metrics["exact_match"] == 1.0


def test_what_cannot_write_is_refused(command: Command, cups: Path, writer: Path) -> None:
    hint = "give a causal or seq2seq model, such as `pocket-causal` or `pocket-seq2seq`"
    message, told = command.fails("fit", "prefix_tuning", "--task", cups, "--template", "{mr} {mask}",
                                  "--out", cups.parent / "out")  # fmt: skip
    assert message == "`prefix_tuning` needs a model that writes for texts, and `pocket-masked` is masked"
    assert told == hint
    assert only_names(cups.parent) == {"cups"}
    plain = promptatlas.save(promptatlas.prompt("{mr} {mask}", view=promptatlas.task(cups).view), cups.parent / "plain")
    (cups / "a.txt").write_text("the cat\n")
    for words in (("evaluate", plain, "--task", cups), ("predict", plain, cups / "a.txt")):
        assert command.fails(*words, "--lm", "pocket-masked") == (
            "this prompt's answers are texts, and `pocket-masked` is masked: it can't write",
            hint,
        )
    message, told = command.fails("fit", "lora", "--task", cups, "--template", "{mr} {mask}", "--lm", writer,
                                  "--out", cups.parent / "out")  # fmt: skip
    assert message == "`lora` needs a task of kind label or choice, and `cups` is of kind text"
    fit = ("chain_of_thought", "contextual_calibration", "in_context", "prefix_tuning", "prompt_tuning")
    others = ", ".join(f"`{name}`" for name in (*fit, "self_consistency"))
    assert told == f"with `{writer}` and this task these would do: {others}"


def test_words_for_texts_and_ways_of_writing_labels_are_refused(command: Command, cups: Path, tmp_path: Path) -> None:
    given = ("fit", "prefix_tuning", "--task", cups, "--template", "{mr} {mask}", "--out", tmp_path / "out")
    assert command.fails(*given, "--words", "good=great") == (
        "`cups` has its answers written, and label words were given",
        "leave --words out",
    )
    labels = promptatlas.prompt("{text} It was {mask}.", {"good": "great", "bad": "poor"})
    folder = promptatlas.save(labels, tmp_path / "labels")
    for option in ("--beams", "--max-new"):
        message, hint = command.fails(
            "evaluate", folder, "--task", task(tmp_path / "task"), "--lm", "pocket-masked", option, 3
        )
        assert message == f"`{option}` is of texts that are written, and this prompt answers with labels or choices"
        assert hint == "leave it out"
        assert command("evaluate", folder, "--task", tmp_path / "task", option, 0).code == 2


def test_what_cannot_be_answered_says_where_it_stands(command: Command, cups: Path, fitted: Path) -> None:
    write(cups / "a.jsonl", [{"mr": "the cat"}, {"name": "cat"}])
    done = command("predict", fitted, cups / "a.jsonl", "--max-new", 3)
    assert done.code == 2
    assert len(done.lines()) == 1
    assert done.err.startswith(f"error: {cups / 'a.jsonl'}:2: no field `mr`; there are `name`")
    (cups / "b.txt").write_text("the cat\n")
    done = command("predict", fitted, cups / "b.txt", "--max-new", 1000)
    assert done.code == 2
    assert done.err.startswith(f"error: {cups / 'b.txt'}:1: a row needs ")


def test_the_library_fits_the_same(command: Command, cups: Path, writer: Path, fitted: Path) -> None:
    """A prompt that was made without a view writes once it was fitted to texts."""
    lm, few = promptatlas.load(writer), promptatlas.task(cups)
    method = promptatlas.method("prefix_tuning", steps=3, length=2, batch=2, mid=4)
    made = method.fit(lm, few, promptatlas.prompt("{mr} {mask}"))
    assert made == promptatlas.open(fitted)
    assert torch.equal(
        made.parts["prefix"].tensors()["self"], promptatlas.open(fitted).parts["prefix"].tensors()["self"]
    )
    assert json.loads((fitted / "prompt.json").read_text())["view"]["kind"] == "one"
