"""What all tests share. Nothing here imports promptatlas or seeds a global generator: a draw is given its seed."""

import os
import typing
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is imported, so before anything imports it

import pytest
import torch

torch.set_num_threads(1)  # sums in one order on every machine, and tests side by side don't fight for cores

_protocol: Any = typing._ProtocolMeta  # type: ignore[attr-defined]
_asked, _kept = _protocol.__instancecheck__, set[tuple[type, type]]()


def _remembered(cls: type, instance: object) -> bool:
    """Whether an object keeps a protocol, asked once a type: asking every attribute at every call of a function whose
    types are checked took a third of the suite's time."""
    pair = (cls, type(instance))
    if pair in _kept:
        return True
    if found := bool(_asked(cls, instance)):
        _kept.add(pair)
    return found


_protocol.__instancecheck__ = _remembered


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a GPU where there is none."""
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of data sets that PROMPTATLAS_DATA names; a test that wants one is skipped where there is none."""
    folder = os.environ.get("PROMPTATLAS_DATA")
    if not folder:
        pytest.skip("PROMPTATLAS_DATA is not set: it names a folder of data sets")
    if not Path(folder).is_dir():
        pytest.fail(f"PROMPTATLAS_DATA is no folder: {folder}")
    return Path(folder)
