"""What the tests of remote models share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.lm.remotes import NAME, connect

from promptatlas.lm.load import load
from promptatlas.lm.local import LocalLM
from promptatlas.lm.remote.lm import RemoteLM
from promptatlas.testing.endpoint import Served, endpoint


@pytest.fixture(scope="module")
def local() -> LocalLM:
    return load(NAME, "cpu")


@pytest.fixture
def served() -> Iterator[Served]:
    with endpoint() as one:
        yield one


@pytest.fixture
def lm(served: Served, tmp_path: Path) -> Iterator[RemoteLM]:
    one = connect(served, tmp_path)
    yield one
    one.close()
