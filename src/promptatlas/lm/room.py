"""How much a pass may hold: from the memory that is free."""

from typing import TYPE_CHECKING

import psutil  # type: ignore[import-untyped]
import torch

if TYPE_CHECKING:
    from promptatlas.lm.local import LocalLM

SHARE = 0.25  # of free memory, for one pass
LEAST = 512
MOST = {"cpu": 8192}  # beyond this a CPU gains nothing; a GPU has more to fill
MOST_ELSEWHERE = 65536
STATES = 24  # numbers a position holds at once without gradients, times the width: states, their projections, attention


def free(device: torch.device) -> int:
    """Bytes that are free on a device."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def budget(lm: "LocalLM") -> int:
    """Positions of one pass, padding counted: what a share of the free memory holds of a layer's states, in bounds."""
    size = torch.finfo(getattr(torch, lm.dtype)).bits // 8
    position = size * STATES * max(lm.hidden, lm.width)
    most = MOST.get(lm.device.type, MOST_ELSEWHERE)
    return max(LEAST, min(most, int(SHARE * free(lm.device) / position)))
