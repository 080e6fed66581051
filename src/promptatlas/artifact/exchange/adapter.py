"""The files of a PEFT adapter: `adapter_config.json` and `adapter_model.safetensors`, read as a stranger's."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import Tensor

from promptatlas.errors import ArtifactError

CONFIG = "adapter_config.json"
TENSORS = "adapter_model.safetensors"
PICKLED = "adapter_model.bin"


class Adapter(NamedTuple):
    """What PEFT keeps of one adapter: settings as JSON, tensors by name."""

    config: dict[str, Any]
    tensors: dict[str, Tensor]

    @property
    def base(self) -> str:
        """The model it says it was made for, as a sentence's end; "" where it doesn't say."""
        name = self.config.get("base_model_name_or_path")
        return f", and it says it was made for `{name}`" if name else ""


def read_adapter(folder: Path) -> Adapter:
    """The adapter in a folder.

    Raises:
        ArtifactError: there is none, it is broken, or it is pickled.
    """
    config = _config(folder / CONFIG)
    path = folder / TENSORS
    if not path.is_file():
        if (folder / PICKLED).is_file():
            raise ArtifactError(
                f"`{folder}` has its tensors in `{PICKLED}`, a pickle, which can run any code and isn't read",
                hint=f"have who made it save it as `{TENSORS}` (safe_serialization=True)",
            )
        raise ArtifactError(f"`{folder}` has no `{TENSORS}`", hint="copy the whole folder")
    try:
        tensors = from_bytes(path.read_bytes())
    except SafetensorError as error:
        raise ArtifactError(f"`{path}` is not whole: {error}", hint="copy the folder again") from error
    for name, one in tensors.items():
        if not one.is_floating_point() or not bool(one.isfinite().all()):
            raise ArtifactError(
                f"`{name}` in `{path}` isn't all finite numbers", hint="its training failed, or the file is broken"
            )
    return Adapter(config, {name: one.float() for name, one in tensors.items()})


def adapter_files(adapter: Adapter) -> Mapping[str, bytes]:
    """File name -> content, as PEFT writes them."""
    text = json.dumps(adapter.config, indent=2, sort_keys=True, ensure_ascii=False)
    tensors = {name: one.detach().cpu().contiguous().clone() for name, one in adapter.tensors.items()}
    return {CONFIG: f"{text}\n".encode(), TENSORS: to_bytes(tensors, metadata={"format": "pt"})}


def whole(adapter: Adapter, key: str, default: int | None = None) -> int:
    """A setting that is a number from 1 up. Raises ArtifactError."""
    value = adapter.config.get(key)
    value = default if value is None else value
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ArtifactError(f"`{key}` in `{CONFIG}` is {value!r}, not a number from 1 up", hint="copy the folder again")
    return value


def _config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        where = path.parent
        missing = f"has no `{CONFIG}`" if where.is_dir() else "is no folder"
        raise ArtifactError(f"`{where}` is no PEFT adapter: it {missing}", hint="give the folder PEFT saved it in")
    try:
        config = json.loads(path.read_bytes())
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ArtifactError(f"`{path}` is not whole: {error}", hint="copy the folder again") from error
    if not isinstance(config, dict) or not isinstance(config.get("peft_type"), str):
        raise ArtifactError(f"`{path}` doesn't say what adapter it is: no `peft_type`", hint="was it saved by PEFT?")
    return config
