"""A task with a tag an item, as a user runs it."""

from pathlib import Path

import pytest
from tests.cli.small import Command, only_names, write

import promptatlas

WHO = (("Ann", "B-PER"), ("Bob", "B-PER"), ("Rome", "B-LOC"), ("Oslo", "B-LOC"))
SAID = (("saw", "rain", "in", "May"), ("likes", "tea", "."), ("is", "far", "away"))


def rows(count: int) -> list[dict[str, list[str]]]:
    found = []
    for at in range(count):
        (name, tag), rest = WHO[at % 4], SAID[at % 3]
        found.append({"tokens": [name, *rest], "tags": [tag, *["O"] * len(rest)]})
    return found


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("names")
    for split in ("train", "dev", "test"):
        write(folder / f"{split}.jsonl", rows(12))
    return folder


def test_fit_evaluate_predict_show(command: Command, names: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    settings = ("--set", "steps=40", "--set", "lr=0.01", "--shots", 10)
    done = command("fit", "p_tuning_v2", "--task", names, *settings, "--out", out, "--json")
    assert done.code == 0, done
    report = done.json()
    assert (report["examples"], report["dev_examples"], list(report["dev"])) == (10, 10, ["span_f1"])
    assert report["trained"] == 8 * 2 * 4 * 256 + 257 * 3
    assert only_names(tmp_path) == {"out"}
    found = command("evaluate", out, "--task", names, "--json").json()
    assert list(found["metrics"]) == ["span_f1", "span_precision", "span_recall", "accuracy", "invalid"]
    assert found["metrics"]["span_f1"] > 0.9
    assert found["examples"] == 12
    items = tmp_path / "items.jsonl"
    items.write_text('{"tokens": ["Ann", "saw", "tea"]}\n{"tokens": []}\n{"tokens": ["电", "影"]}\n', "utf-8")
    lines = command("predict", out, items).lines()
    assert lines[0]["tags"] == ["B-PER", "O", "O"]
    assert [len(line["tags"]) for line in lines] == [len(line["probabilities"]) for line in lines] == [3, 0, 2]
    assert all(0 < one <= 1 for line in lines for one in line["probabilities"])
    assert [set(line) for line in lines] == [{"tags", "probabilities"}] * 3
    assert "tags: field tokens" in command("show", out).out


def test_items_that_do_not_fit_are_told(command: Command, names: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert command("fit", "feature_extraction", "--task", names, "--set", "steps=1", "--out", out).code == 0
    window = promptatlas.load("pocket-masked").window
    write(tmp_path / "long.jsonl", [{"tokens": ["tea"] * (window + 10)}])
    (line,) = command("predict", out, tmp_path / "long.jsonl").lines()
    assert line["why"] == f"the last 12 of {window + 10} items didn't fit, and are answered `O` unread"
    assert (line["tags"][-12:], line["probabilities"][-12:]) == (["O"] * 12, [0.0] * 12)


def test_parts_of_speech(command: Command, tmp_path: Path) -> None:
    file = write(tmp_path / "speech.jsonl", [{"tokens": ["tea", "fell"], "tags": ["NOUN", "VERB"]}] * 6)
    done = command("fit", "feature_extraction", "--task", file, "--shots", 2, "--out", tmp_path / "out", "--json")
    assert done.json()["dev"] == {"accuracy": 1.0}
    assert list(command("evaluate", tmp_path / "out", "--task", file, "--json").json()["metrics"]) == [
        "accuracy",
        "invalid",
    ]


def test_what_is_wrong_is_said(command: Command, names: Path, tmp_path: Path, seq2seq: Path) -> None:
    def fails(*words: object, method: str = "p_tuning_v2") -> tuple[str, str]:
        return command.fails("fit", method, "--task", names, "--out", tmp_path / "out", *words)

    assert fails("--words", "O=no") == ("`names0` has tags, and label words were given", "leave --words out")
    assert fails("--template", "{tokens}") == (
        "`names0` has a tag an item, and `{tokens}` shows no items",
        "write {tokens:each} where the items of a list are to be read",
    )
    message, hint = fails(method="prompt_tuning")
    assert message == "`prompt_tuning` needs a task of kind label or choice or text, and `names0` is of kind tags"
    assert hint.endswith("these would do: `feature_extraction`, `fine_tuning`, `p_tuning_v2`")
    assert "reads tags in a masked or causal model" in fails("--lm", seq2seq)[0]
    assert only_names(tmp_path) <= {"out"}


def test_what_a_saved_prompt_can_not_tag(command: Command, names: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert command("fit", "fine_tuning", "--task", names, "--set", "steps=1", "--out", out).code == 0
    (tmp_path / "texts.txt").write_text("Ann saw tea\n", "utf-8")
    assert command.fails("predict", out, tmp_path / "texts.txt") == (
        f"{tmp_path / 'texts.txt'}:1: a text, and the prompt wants a list of items",
        'give JSON lines: {"tokens": ["…", "…"]}',
    )
    write(tmp_path / "blank.jsonl", [{"tokens": ["Ann", " "]}])
    message, _ = command.fails("predict", out, tmp_path / "blank.jsonl")
    assert message.endswith("item 2 of field `tokens` is blank")
    other = write(tmp_path / "other.jsonl", [{"tokens": ["Ann"], "tags": ["B-MISC"]}])
    assert command.fails("evaluate", out, "--task", other) == (
        "the prompt doesn't know the tag `B-MISC` of `other`",
        "there are `B-LOC`, `B-PER`, `O`",
    )
    labels = write(tmp_path / "labels.jsonl", [{"tokens": ["a"], "label": "up"}, {"tokens": ["b"], "label": "down"}])
    assert "has labels, and the prompt has no words for them" in command.fails("evaluate", out, "--task", labels)[0]
