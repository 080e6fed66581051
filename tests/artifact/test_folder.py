from pathlib import Path

import pytest

from promptatlas.artifact import folder as folders
from promptatlas.artifact.folder import put, replace, settle
from promptatlas.errors import ArtifactError


def test_a_folder_is_exactly_the_files_given(tmp_path: Path) -> None:
    put(tmp_path / "one", {"a": b"1", "b": b"2"}, ours=("a", "b"))
    put(tmp_path / "one", {"a": b"3"}, ours=("a", "b"))
    assert [(path.name, path.read_bytes()) for path in (tmp_path / "one").iterdir()] == [("a", b"3")]


def test_a_process_killed_before_the_new_folder_is_in_place_loses_nothing(tmp_path: Path) -> None:
    put(tmp_path / "one", {"a": b"1"}, ours=("a",))
    (tmp_path / "one").rename(tmp_path / ".one.old")
    (tmp_path / ".one.new").mkdir()
    assert (settle(tmp_path / "one") / "a").read_bytes() == b"1"
    put(tmp_path / "one", {"a": b"2"}, ours=("a",))
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def test_a_process_killed_after_the_new_folder_is_in_place_keeps_the_new(tmp_path: Path) -> None:
    put(tmp_path / "one", {"a": b"2"}, ours=("a",))
    put(tmp_path / ".one.old", {"a": b"1"}, ours=("a",))
    assert (settle(tmp_path / "one") / "a").read_bytes() == b"2"
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def test_where_filling_fails_the_old_folder_stays(tmp_path: Path) -> None:
    put(tmp_path / "one", {"a": b"1"}, ours=("a",))

    def fail(fresh: Path) -> None:
        (fresh / "a").write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replace(tmp_path / "one", fail)
    assert (tmp_path / "one" / "a").read_bytes() == b"1"
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def test_where_the_last_rename_fails_the_old_folder_is_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "one", {"a": b"1"}, ours=("a",))
    rename = Path.rename

    def fails(path: Path, target: Path) -> Path:
        if path.name == ".one.new":
            raise PermissionError(1, "Operation not permitted")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fails)
    with pytest.raises(
        ArtifactError, match=r"can't be written: Operation not permitted\n\nhint: check that the path exists"
    ):
        put(tmp_path / "one", {"a": b"2"}, ours=("a",))
    assert (tmp_path / "one" / "a").read_bytes() == b"1"
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def test_a_link_is_followed_and_stays_a_link(tmp_path: Path) -> None:
    put(tmp_path / "one", {"a": b"1"}, ours=("a",))
    (tmp_path / "link").symlink_to(tmp_path / "one")
    put(tmp_path / "link", {"a": b"2"}, ours=("a",))
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "one" / "a").read_bytes() == b"2"


def test_everything_is_flushed_before_it_is_put_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[str] = []
    monkeypatch.setattr(folders, "_flush_one", lambda path: flushed.append(path.name))
    put(tmp_path / "one", {"a": b"1", "b": b"2"}, ours=("a", "b"))
    assert flushed == ["a", "b", ".one.new", tmp_path.name]
