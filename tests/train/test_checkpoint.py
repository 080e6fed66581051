import errno
from pathlib import Path

import pytest
import torch

from promptatlas.artifact import folder as folders
from promptatlas.errors import ArtifactError
from promptatlas.train.checkpoint import Checkpoint, Dev, Progress, read, write

SETTINGS = {"seed": 1, "optim": {"lr": 0.1, "betas": (0.9, 0.999)}}


def checkpoint(step: int = 3) -> Checkpoint:
    progress = Progress(step, 0.1, [0.1, 1 / 3], [2.0], Dev(2, 0.5, 0.7), Dev(1, 0.5, 0.6), 1, 9.5)
    return Checkpoint(SETTINGS, progress, {"parts/soft/weight": torch.rand(2, 3), "optim/0/0/step": torch.tensor(3.0)})


def test_what_is_read_is_what_was_written_bit_for_bit(tmp_path: Path) -> None:
    made = checkpoint()
    write(tmp_path / "tune-0", made)
    found = read(tmp_path / "tune-0", SETTINGS)
    assert found is not None
    assert found.progress == made.progress
    assert found.tensors.keys() == made.tensors.keys()
    assert all(torch.equal(found.tensors[name], value) for name, value in made.tensors.items())


def test_where_there_is_none_there_is_none(tmp_path: Path) -> None:
    assert read(tmp_path / "tune-0", SETTINGS) is None


def test_a_checkpoint_of_other_settings_names_them(tmp_path: Path) -> None:
    write(tmp_path / "tune-0", checkpoint())
    with pytest.raises(ArtifactError) as caught:
        read(tmp_path / "tune-0", {"seed": 2, "optim": SETTINGS["optim"], "flat": None, "steps": 4})
    assert str(caught.value) == (
        f"the checkpoint `{tmp_path / 'tune-0'}` is of a fit with other settings: `seed`, `steps`\n\n"
        "hint: give another run folder, or delete this one to begin anew"
    )


@pytest.mark.parametrize("name", ["checkpoint.json", "checkpoint.safetensors"])
def test_a_checkpoint_that_is_not_whole_is_an_error(name: str, tmp_path: Path) -> None:
    write(tmp_path / "tune-0", checkpoint())
    path = tmp_path / "tune-0" / name
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ArtifactError, match=r"can't be read.*\n\nhint: delete it to begin anew"):
        read(tmp_path / "tune-0", SETTINGS)


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "tune-0", checkpoint(3))

    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(folders, "write", full)
    with pytest.raises(ArtifactError, match="No space left on device"):
        write(tmp_path / "tune-0", checkpoint(4))
    found = read(tmp_path / "tune-0", SETTINGS)
    assert found is not None
    assert found.progress.step == 3
