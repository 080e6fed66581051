"""Prompts -> folders."""

import json
import math
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save as to_bytes
from torch import Tensor

from promptatlas.artifact.folder import put, settle
from promptatlas.artifact.kinds import Component
from promptatlas.errors import ArtifactError
from promptatlas.prompting import Ensemble, Prompt, Step

FORMAT = "promptatlas"
VERSION = 1
PROMPT = "prompt.json"
TENSORS = "parts.safetensors"
FILES = (PROMPT, TENSORS)
NAMES = ("kind", "version")  # of a component: beside its settings, and no setting's name


class Packed(NamedTuple):
    """What is written of a prompt: a JSON object, and tensors by name."""

    record: dict[str, Any]
    tensors: dict[str, Tensor]


def save(prompt: Prompt | Ensemble, folder: str | Path) -> Path:
    """Save a prompt as a folder, whole or not at all; an artifact that is there is replaced.

    The same prompt gives the same bytes.

    Returns:
        The folder.

    Raises:
        ArtifactError: the folder can't be written, isn't an artifact, or the prompt holds what isn't JSON.
    """
    record, tensors = pack(prompt)
    record["tensors"] = {name: {"dtype": _dtype(one), "shape": list(one.shape)} for name, one in tensors.items()}
    parts = to_bytes(tensors) if tensors else b""
    record["digest"] = sha256(parts).hexdigest()
    try:
        text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ArtifactError(
            f"the prompt can't be written as JSON: {error}", hint="settings hold names and values"
        ) from error
    files = {PROMPT: f"{text}\n".encode()}
    if tensors:
        files[TENSORS] = parts
    put(Path(folder), files, ours=FILES)
    return Path(folder)


def size(folder: str | Path) -> int:
    """Bytes an artifact takes on the disk."""
    return sum(path.stat().st_size for path in settle(Path(folder)).iterdir() if path.name in FILES)


def pack(prompt: Prompt | Ensemble) -> Packed:
    """A prompt as one JSON object and named tensors: what is saved, and what two equal prompts share."""
    head: dict[str, Any] = {"format": FORMAT, "version": VERSION}
    if isinstance(prompt, Prompt):
        record, tensors = _prompt(prompt)
        return Packed({**head, "type": "prompt", **record}, tensors)
    packed = [_prompt(one) for one in prompt.prompts]
    record = {
        "weights": [float(one) for one in prompt.weights],
        "vote": prompt.vote,
        "mix": prompt.mix,
        "heed": prompt.heed,
        "prompts": [one.record for one in packed],
    }
    tensors = {f"prompts/{at}/{name}": value for at, one in enumerate(packed) for name, value in one.tensors.items()}
    return Packed({**head, "type": "ensemble", **record}, tensors)


def _prompt(prompt: Prompt) -> Packed:
    tensors: dict[str, Tensor] = {}
    record = {
        "template": str(prompt.template),
        "words": _component(prompt.words, "words", tensors),
        "parts": {name: _component(part, f"parts/{name}", tensors) for name, part in prompt.parts.items()},
        "demos": _component(prompt.demos, "demos", tensors),
        "between": str(prompt.between),
        "calibration": [_component(one, f"calibration/{at}", tensors) for at, one in enumerate(prompt.calibration)],
        "view": _component(prompt.view, "view", tensors),
        "history": [_step(step) for step in prompt.history],
        "lm": dict(prompt.history[-1].lm) if prompt.history else None,
    }
    return Packed(record, tensors)


def _component(component: Component, prefix: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    for name, value in component.tensors().items():
        tensors[f"{prefix}/{name}"] = value.detach().cpu().contiguous().clone()  # safetensors refuses shared memory
    return {"kind": component.kind, "version": component.version, **_settings(component)}


def _settings(component: Component) -> dict[str, Any]:
    """Its config, less the kind and version that some repeat there."""
    return {key: value for key, value in plain(component.config()).items() if key not in NAMES}


def _step(step: Step) -> dict[str, Any]:
    figures = {name: _finite(value) for name, value in step.figures.items()}
    settings, lm = plain(step.settings), plain(step.lm)
    return {"method": step.method, "settings": settings, "lm": lm, "task": step.task, "figures": figures}


def _finite(value: float | int | str) -> float | int | str:
    """JSON has no NaN and no infinity; a figure is not worth failing for, so those are written as text."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def plain(value: Any) -> Any:
    """Mappings as dicts and sequences as lists, all the way down; the rest is left for `json` to judge."""
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [plain(one) for one in value]
    return value


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix(f"{torch.__name__}.")
