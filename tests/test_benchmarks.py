"""Benchmarks: that they measure, go on where they were stopped, and say what is not there."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest
from tests.cli.small import BAD, GOOD, rows, write

FILE = Path(__file__).parent.parent / "benchmarks" / "foundation.py"
QUICK = ("--seeds", "2", "--tasks", "sst2", "mr", "--methods", "majority", "naive Bayes", "zero-shot")


@pytest.fixture(scope="module")
def foundation() -> ModuleType:
    spec = importlib.util.spec_from_file_location("foundation", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for split in ("train", "test"):
        some = rows(GOOD * 4, "positive") + rows(BAD * 4, "negative")
        write(tmp_path / "data" / "sst2" / f"{split}.jsonl", some)
    return tmp_path / "data"


def test_cells_are_measured_once_and_a_table_is_written(
    foundation: ModuleType, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "results" / "found.json"
    assert foundation.main(["--data", str(data), "--out", str(out), *QUICK]) == 0
    first = out.read_text("utf-8").splitlines()
    cells = [json.loads(line)["cell"] for line in first]
    assert [(one["method"], one["seed"]) for one in cells] == [
        (name, seed) for seed in (0, 1) for name in ("majority", "naive Bayes", "zero-shot")
    ]
    assert "| majority | 50.0 ± 0.0 | 50.0 ± 0.0 | 0 | 0 | 0.0 |" in out.with_suffix(".md").read_text("utf-8")
    assert f"skipped: no mr in {data}" in capsys.readouterr().err.replace("\n", "")
    out.write_text("\n".join(first[:4]) + "\n" + first[4][:40], "utf-8")  # killed while it wrote the fifth
    assert foundation.main(["--data", str(data), "--out", str(out), *QUICK]) == 0
    again = out.read_text("utf-8").splitlines()
    assert again[:4] == first[:4]
    figures = [json.loads(line)["cell"]["figures"]["accuracy"] for line in again]
    assert figures == [one["figures"]["accuracy"] for one in cells]


def test_cells_of_other_settings_are_measured_again(foundation: ModuleType, data: Path, tmp_path: Path):
    out = tmp_path / "found.json"
    words = ["--data", str(data), "--out", str(out), "--seeds", "1", "--tasks", "sst2", "--methods", "majority"]
    foundation.main(words)
    (line,) = out.read_text("utf-8").splitlines()
    out.write_text(line.replace('"how": "[16,', '"how": "[17,') + "\n", "utf-8")
    foundation.main(words)
    (again,) = out.read_text("utf-8").splitlines()
    assert json.loads(again)["how"] == json.loads(line)["how"]


def test_a_file_that_is_something_else_is_left_alone(foundation: ModuleType, data: Path, tmp_path: Path):
    out = tmp_path / "mine.json"
    out.write_text("[\n1\n]\n", "utf-8")
    with pytest.raises(foundation.DataError, match="is no cell of this benchmark"):
        foundation.main(["--data", str(data), "--out", str(out), *QUICK])
    assert out.read_text("utf-8") == "[\n1\n]\n"


def test_without_data_it_says_so(
    foundation: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("PROMPTATLAS_DATA", raising=False)
    assert foundation.main([]) == 0
    assert "skipped: say where the data sets are, --data" in capsys.readouterr().err
    assert foundation.main(["--data", str(tmp_path / "none")]) == 0
    assert "skipped: no data sets at" in capsys.readouterr().err
