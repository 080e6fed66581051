"""Public data sets, read whole where PROMPTATLAS_DATA names a folder of them; skipped where it doesn't."""

import json
from pathlib import Path

import pytest

from promptatlas.data.read import read_task
from promptatlas.data.view import Choices
from promptatlas.errors import DataError


def broken_line(folder: Path) -> str | None:
    """The first line in the folder's splits that isn't JSON, found without the reader."""
    for path in sorted(folder.glob("*.jsonl")):
        if path.stem in ("train", "dev", "test", "unlabeled"):
            for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
                try:
                    json.loads(line or "{}")
                except ValueError:
                    return f"{path}:{number}"
    return None


def test_every_task_reads(shared_data):
    folders = [folder for folder in sorted(shared_data.iterdir()) if list(folder.glob("test.jsonl"))]
    assert folders
    for folder in folders:
        broken = broken_line(folder)
        if broken:
            with pytest.raises(DataError) as error:
                read_task(folder)
            assert error.value.message.startswith(f"{broken}: not JSON")
            continue
        task = read_task(folder)
        rows = [json.loads(line) for line in (folder / "test.jsonl").read_text("utf-8").split("\n") if line]
        assert len(task.test) == len(rows), folder
        assert all(set(example.fields) == set(task.fields) for example in task.train + task.test + task.unlabeled)
        for example, row in zip(task.test, rows, strict=True):
            assert example.target is not None
            if task.kind == "choice":
                assert example.target == row["choices"][row["answer_idx"]]
                assert example.target in Choices().options(example)
            elif task.kind == "label":
                assert example.target == row["label"]
        labels = json.loads((folder / "info.json").read_text("utf-8"))["labels"]
        assert task.kind != "label" or task.labels == tuple(sorted(labels))


def test_few_of_a_real_task(shared_data):
    task = read_task(shared_data / "sst2")
    few = task.few(16, seed=13)
    assert [sum(example.target == label for example in few.train) for label in few.labels] == [16, 16]
    assert len(few.dev) == 32
    assert len(few.unlabeled) == len(task.train) - 32
    assert few.test == task.test
