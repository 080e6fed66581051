"""What the tests of the command line share."""

from pathlib import Path

import pytest
from tests.cli.small import Command, saved_model

from promptatlas.testing.tiny import tiny


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    for name in ("PROMPTATLAS_DEBUG", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    return Command(capsys)


@pytest.fixture(scope="session")
def causal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny causal model in a folder."""
    return saved_model("gpt2", tmp_path_factory.mktemp("causal"))


@pytest.fixture(scope="session")
def seq2seq(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model with an encoder and a decoder in a folder."""
    return saved_model("t5", tmp_path_factory.mktemp("seq2seq"))


@pytest.fixture(scope="session")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny causal model that hears what it reads, in a folder."""
    folder, lm = tmp_path_factory.mktemp("writer"), tiny("gpt2", scale=6.0)
    lm.model.save_pretrained(folder)
    lm.tokenizer.backend.save_pretrained(folder)
    return folder
