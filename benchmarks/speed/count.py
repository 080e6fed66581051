"""The three figures of a piece of work: operations, seconds, peak memory. Needs torch alone, as every peer has it."""

import gc
import time
from collections.abc import Callable
from contextlib import suppress
from ctypes import CDLL
from pathlib import Path
from typing import Any, Protocol

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

STATUS, REFERENCES = Path("/proc/self/status"), Path("/proc/self/clear_refs")  # Linux's own; see proc(5)
Run = Callable[[int], object]  # does the work of the batch of this number


class Side(Protocol):
    """One party of a comparison: can do each numbered batch."""

    def operations(self, batch: int) -> dict[str, int]:
        """Multiplications and additions of a batch, forward and backward, by kind: "products", "attention"."""

    def seconds(self, batch: int) -> float:
        """Wall time of a batch."""

    def close(self) -> None:
        """It isn't needed any more."""


class Here:
    """A party that lives in this process."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def operations(self, batch: int) -> dict[str, int]:
        """Counted while the batch is done."""
        return counted(lambda: self.run(batch))

    def seconds(self, batch: int) -> float:
        """Measured while the batch is done."""
        began = time.perf_counter()
        self.run(batch)
        return time.perf_counter() - began

    def close(self) -> None:
        """Nothing to do."""


def counted(run: Callable[[], object]) -> dict[str, int]:
    """Operations of what is done inside, as torch counts them: "products" of matrices, and fused "attention"."""
    with FlopCounterMode(display=False, custom_mapping=_missing()) as counter:
        run()
    found = {"products": 0, "attention": 0}
    for kernel, many in counter.get_flop_counts().get("Global", {}).items():
        found["attention" if "attention" in str(kernel) else "products"] += int(many)
    return found


def _missing() -> dict[Any, Any]:
    """The attention kernels of the CPU, which torch's counter knows nothing of; counted as it counts those of a GPU."""
    forward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
    return {forward: _attention, backward: _attention_backward}


def _attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return int(sdpa_flop_count(query, key, value))  # type: ignore[no-untyped-call]


def _attention_backward(grad: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return int(sdpa_backward_flop_count(grad, query, key, value))  # type: ignore[no-untyped-call]


def peak(run: Callable[[], object]) -> int:
    """Bytes this process holds at most while it runs, less those it held before.

    Raises:
        OSError: this system doesn't tell.
    """
    gc.collect()
    give_back()
    before = resident()
    REFERENCES.write_text("5", "ascii")  # the highest mark starts anew
    run()
    return _kept("VmHWM") - before


def give_back() -> None:
    """Hand freed memory to the system: what an earlier step was given is not to serve this one unseen."""
    with suppress(OSError, AttributeError):  # GNU's library alone has it
        CDLL(None).malloc_trim(0)


def resident() -> int:
    """Bytes of memory this process holds now."""
    return _kept("VmRSS")


def _kept(name: str) -> int:
    line = next(line for line in STATUS.read_text("ascii", "ignore").splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


def touch(model: torch.nn.Module) -> None:
    """Read every weight once: a file mapped into memory counts as held only then."""
    with torch.no_grad():
        for one in model.parameters():
            one.sum()
