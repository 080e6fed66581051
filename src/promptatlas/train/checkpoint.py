"""Checkpoints of `tune`: what decides how training goes on, in JSON and safetensors, written whole or not at all."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import Tensor

from promptatlas.artifact.folder import put, settle
from promptatlas.errors import ArtifactError

STATE = "checkpoint.json"
TENSORS = "checkpoint.safetensors"
FILES = (STATE, TENSORS)


class Dev(NamedTuple):
    """One evaluation on the dev examples: after how many steps, the share that was right, the mean loss."""

    step: int
    accuracy: float
    loss: float


@dataclass
class Progress:
    """Where training stands, but for tensors.

    Attributes:
        step: steps done.
        loss: of the last one.
        window: losses of the steps since the last full window.
        means: mean loss of every full window.
        dev: the last evaluation.
        best: the best one.
        waited: evaluations since the best.
        seconds: spent, those of processes that were stopped and went on included.
        done: whether training has ended.
    """

    step: int = 0
    loss: float = 0.0
    window: list[float] = field(default_factory=list)
    means: list[float] = field(default_factory=list)
    dev: Dev | None = None
    best: Dev | None = None
    waited: int = 0
    seconds: float = 0.0
    done: bool = False


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What is written: settings, where training stands, tensors (parts, the best parts, optimisers' moments)."""

    settings: Mapping[str, Any]
    progress: Progress
    tensors: Mapping[str, Tensor]


def write(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint in place of the one that is there. Raises ArtifactError, and leaves that one."""
    state = {"settings": checkpoint.settings, "progress": asdict(checkpoint.progress)}
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in checkpoint.tensors.items()}
    put(folder, {STATE: json.dumps(state, indent=1).encode(), TENSORS: to_bytes(tensors)}, ours=FILES)


def read(folder: Path, settings: Mapping[str, Any]) -> Checkpoint | None:
    """The checkpoint in a folder; None where there is none.

    Raises:
        ArtifactError: it can't be read, or belongs to other settings (which are named).
    """
    folder = settle(folder)
    if not folder.exists():
        return None
    try:
        state = json.loads((folder / STATE).read_bytes())
        tensors = from_bytes((folder / TENSORS).read_bytes())
        before, reached = state["settings"], state["progress"]
        measured = {name: reached[name] and Dev(*reached[name]) for name in ("dev", "best")}
        progress = Progress(**{**reached, **measured})
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise ArtifactError(
            f"the checkpoint `{folder}` can't be read: {error}", hint="delete it to begin anew"
        ) from error
    now = json.loads(json.dumps(settings))
    changed = [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
    if changed:
        names = ", ".join(f"`{name}`" for name in changed)
        hint = "give another run folder, or delete this one to begin anew"
        raise ArtifactError(f"the checkpoint `{folder}` is of a fit with other settings: {names}", hint=hint)
    return Checkpoint(before, progress, tensors)
