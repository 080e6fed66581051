import pytest
import torch

from promptatlas.lm import room
from promptatlas.testing.tiny import tiny


def test_a_pass_is_as_large_as_free_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    lm = tiny("bert")
    position = 4 * room.STATES * lm.hidden
    for positions, wanted in ((10, room.LEAST), (3000, 3000), (10**9, room.MOST["cpu"])):
        monkeypatch.setattr(room, "free", lambda _, size=positions: int(size * position / room.SHARE) + 1)
        assert room.budget(lm) == wanted


def test_free_memory_is_some() -> None:
    assert room.free(torch.device("cpu")) > 1 << 20
