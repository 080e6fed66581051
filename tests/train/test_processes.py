"""Fits in processes of their own: killed and gone on with, and several as one."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

pytestmark = pytest.mark.slow


def start(*told: object, **environment: str) -> subprocess.Popen[bytes]:
    settings = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1", **environment}
    return subprocess.Popen([sys.executable, "-m", "tests.train.process", *map(str, told)], env=settings)


def finished(*told: object, **environment: str) -> int:
    return start(*told, **environment).wait(timeout=120)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    result = tmp_path_factory.mktemp("whole") / "result"
    assert finished(result) == 0
    return load_file(result)


@pytest.mark.parametrize("die", ["step:6", "write:0", "write:3", "write:4"])
def test_a_fit_that_was_killed_goes_on_to_the_same_bits(
    die: str, tmp_path: Path, uninterrupted: dict[str, Tensor]
) -> None:
    result, folder = tmp_path / "result", tmp_path / "run"
    assert finished(result, "--folder", folder, "--die", die) == -9
    assert not result.exists()
    assert finished(result, "--folder", folder) == 0
    again = load_file(result)
    assert again.keys() == uninterrupted.keys() == {"soft", "gate"}
    assert all(torch.equal(again[name], value) for name, value in uninterrupted.items())
    assert [path.name for path in folder.iterdir()] == ["tune-0"]


def together(tmp_path: Path, *told: object) -> list[Path]:
    """Two processes of one fit."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    results = [tmp_path / f"result-{rank}" for rank in (0, 1)]
    fits = [start(one, *told, RANK=str(at), LOCAL_RANK=str(at), **shared) for at, one in enumerate(results)]
    assert [one.wait(timeout=120) for one in fits] == [0, 0]
    return results


def test_two_processes_train_the_parts_that_one_does(tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    assert finished(alone, PLAIN="1") == 0
    one, two = (load_file(path) for path in together(tmp_path, "--folder", tmp_path / "run"))
    for name, expected in load_file(alone).items():
        assert torch.equal(one[name], two[name])
        assert torch.allclose(one[name], expected, atol=1e-5, rtol=0)
    again = [load_file(path) for path in together(tmp_path, "--folder", tmp_path / "run")]
    assert all(torch.equal(one[name], some[name]) for some in again for name in one)


def test_where_one_process_is_cancelled_both_stop(tmp_path: Path) -> None:
    said = {path.read_text() for path in together(tmp_path, "--cancel", 1)}
    assert said == {"stopped: cancelled (tune, 0 of 9)", "stopped: another process was (tune, 0 of 9)"}
