import dataclasses
import json
from pathlib import Path

import pytest

from promptatlas.cli import unfinished
from promptatlas.cli.unfinished import Request
from promptatlas.errors import ArtifactError, SettingError

REQUEST = Request(
    method="tea",
    lm="pot",
    task="cups",
    template="{text} {mask}",
    words={"good": ("great", "fine"), "bad": ("茶",)},
    shots=4,
    seed=1,
    settings={"length": "3"},
    paper=True,
    tries={"lr": ("0.1,0.3", "1"), "template": ("{text} {mask}",)},
    select="mdl",
    folds=4,
    device=None,
    dtype="float32",
    folder="/",
)
IDENTITY = {"data": "d1", "language model": "m1"}


def test_a_request_comes_back_as_it_was(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    assert unfinished.begin(REQUEST, IDENTITY, out) is False
    folder = tmp_path / "deep" / "out.run"
    assert [one.name for one in folder.iterdir()] == ["run.json"]
    assert unfinished.read(folder) == REQUEST
    assert not out.exists()


def test_the_same_request_goes_on_another_doesnt(tmp_path: Path) -> None:
    out = tmp_path / "out"
    unfinished.begin(REQUEST, IDENTITY, out)
    assert unfinished.begin(REQUEST, IDENTITY, out) is True
    with pytest.raises(SettingError) as caught:
        unfinished.begin(dataclasses.replace(REQUEST, seed=2), IDENTITY, out)
    assert str(caught.value) == (
        f"`{tmp_path / 'out.run'}` holds an unfinished fit that was asked for otherwise\n\n"
        f"hint: go on with it: promptatlas fit --resume {out}; or delete that folder"
    )


@pytest.mark.parametrize("what", IDENTITY)
def test_other_data_or_another_model_is_refused(tmp_path: Path, what: str) -> None:
    unfinished.begin(REQUEST, IDENTITY, tmp_path / "out")
    with pytest.raises(ArtifactError, match=f"since then the {what} changed"):
        unfinished.begin(REQUEST, {**IDENTITY, what: "other"}, tmp_path / "out")


def test_it_is_found_by_either_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unfinished.begin(REQUEST, IDENTITY, tmp_path / "out")
    monkeypatch.chdir(tmp_path)
    for given in (tmp_path / "out", tmp_path / "out.run", Path("out"), Path("out/")):
        assert unfinished.find(given) == tmp_path / "out.run"


def test_where_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(SettingError) as caught:
        unfinished.find(tmp_path / "out")
    assert caught.value.message == f"there is no unfinished fit at `{tmp_path / 'out'}`"
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "prompt.json").write_text("{}")
    with pytest.raises(SettingError) as caught:
        unfinished.find(tmp_path / "out")
    assert caught.value.message == f"there is no unfinished fit at `{tmp_path / 'out'}`: it is done"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "promptatlas-run", "version": 2}', "\udcff"])
def test_a_record_that_isnt_whole(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ArtifactError, match=r"run\.json"):
        unfinished.read(tmp_path)


def test_a_record_of_another_promptatlas(tmp_path: Path) -> None:
    unfinished.begin(REQUEST, IDENTITY, tmp_path / "out")
    path = tmp_path / "out.run" / "run.json"
    record = json.loads(path.read_text("utf-8"))
    record["request"]["milk"] = True
    path.write_text(json.dumps(record))
    with pytest.raises(ArtifactError, match="is of another promptatlas: `milk`"):
        unfinished.read(path.parent)


def test_a_folder_that_cant_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError, match="can't be written"):
        unfinished.begin(REQUEST, IDENTITY, tmp_path / "file" / "out")


def test_only_an_empty_run_is_forgotten(tmp_path: Path) -> None:
    for name in ("empty", "worked"):
        unfinished.begin(REQUEST, IDENTITY, tmp_path / name)
    (tmp_path / "worked.run" / "tune-0").mkdir()
    for name in ("empty", "worked", "never"):
        unfinished.forget(tmp_path / f"{name}.run")
    assert {one.name for one in tmp_path.iterdir()} == {"worked.run"}


def test_paths_are_those_of_the_folder_the_command_was_given_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "there" / "cups").mkdir(parents=True)
    request = dataclasses.replace(REQUEST, folder=str(tmp_path / "there"))
    monkeypatch.chdir(tmp_path)
    assert request.here("cups") == str(tmp_path / "there" / "cups")
    assert request.here("reviews") == "reviews"
    assert request.here("/somewhere/else") == "/somewhere/else"
    monkeypatch.chdir(tmp_path / "there")
    assert request.here("cups") == "cups"
