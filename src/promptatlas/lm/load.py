"""A name or a folder to a language model."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from socket import create_connection
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import torch
from huggingface_hub.constants import ENDPOINT, HF_HUB_OFFLINE
from safetensors import SafetensorError
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    GenerationConfig,
)
from transformers.utils import logging
from transformers.utils.hub import cached_file

from promptatlas.errors import LoadError, SettingError, near
from promptatlas.lm.attend import ATTENTION
from promptatlas.lm.family import family
from promptatlas.lm.kind import Layout, hole
from promptatlas.lm.lm import Kind
from promptatlas.lm.local import LocalLM
from promptatlas.lm.tokens import Tokenizer

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
ADAPTER = "adapter_config.json"
FOLDER = "give a folder that holds config.json, model.safetensors and tokenizer.json"
FILL = "promptatlas_fill"  # in config.json: how a model that was trained on writes what is missing, see `family.Family`
LOADERS: Mapping[Kind, Any] = {
    "masked": AutoModelForMaskedLM,
    "causal": AutoModelForCausalLM,
    "seq2seq": AutoModelForSeq2SeqLM,
}


def embedded() -> dict[str, Path]:
    """The language models that come with the package: name -> folder."""
    root = Path(str(files("promptatlas") / "pocket"))
    return {folder.name: folder for folder in sorted(root.iterdir()) if (folder / "config.json").is_file()}


def load(
    name: str | Path,
    device: str | None = None,
    dtype: str = "float32",
    *,
    kind: Kind | None = None,
    checkpointing: bool = False,
) -> LocalLM:
    """A language model by embedded name, folder, or name on a model hub.

    Args:
        name: "pocket-masked", a folder that transformers can read, or a hub name.
        device: "cpu", "cuda", "cuda:1"; the GPU where there is one if not said.
        dtype: "float32", "bfloat16" or "float16".
        kind: how to use it, where its configuration leaves that open.
        checkpointing: train with less memory and more time: layers are run again where gradients need what is in them.

    Raises:
        LoadError: nothing there, or not a language model; names the embedded models.
        SettingError: an unknown dtype or device.
    """
    if dtype not in DTYPES:
        raise SettingError(f"there is no dtype `{dtype}`", hint=near(dtype, DTYPES))
    if "://" in str(name):
        raise LoadError(f"`{name}` is an address, and no model of this machine", hint="promptatlas.remote(ADDRESS)")
    folder = embedded().get(str(name), name)
    there = _device(device)
    if (Path(folder) / ADAPTER).is_file():
        raise _adapted(str(name), alone=not (Path(folder) / "config.json").is_file())
    with quiet():
        config, backend = _described(folder, str(name))
        found = kind or _kind(config, str(name))
        model = _weights(folder, str(name), config, found, DTYPES[dtype])
    if getattr(model, "_hf_peft_config_loaded", False):
        raise _adapted(str(name), alone=False)
    lm = wrap(model.to(there), backend, name=str(name), kind=found, weights_hash=lambda: _hash(folder, model))
    lm.checkpointing = checkpointing
    return lm


def _adapted(name: str, *, alone: bool) -> LoadError:
    """What is wrong with a folder of a PEFT adapter: transformers would mix it into the model without a word."""
    if alone:
        return LoadError(
            f"`{name}` is a PEFT adapter and no language model",
            hint=f"give the model it was made for, and take it over: promptatlas import {name} --lm MODEL --out DIR",
        )
    return LoadError(
        f"`{name}` holds a PEFT adapter beside its model, and what is learned here is for the model alone",
        hint=f"give the model without `{ADAPTER}`; the adapter is taken over by `promptatlas import`",
    )


def _described(folder: str | Path, name: str) -> tuple[Any, Any]:
    """Configuration and tokenizer."""
    return _config(folder, name), words(folder, name)


def words(folder: str | Path, name: str) -> Any:
    """The tokenizer in a folder or on a hub. Raises LoadError where there is none, or one without words."""
    hint = "is its tokenizer.json there, and whole?"
    try:
        backend: Any = AutoTokenizer.from_pretrained(folder)
    except Exception as error:  # tokenizers raises nothing narrower for a broken file
        raise LoadError(f"the tokenizer of `{name}` can't be read: {error}", hint=hint) from error
    if len(backend) <= len(backend.all_special_ids):  # what comes back where there is no file
        raise LoadError(f"the tokenizer of `{name}` has no words", hint=hint)
    return backend


def _config(folder: str | Path, name: str) -> Any:
    """The configuration: of a folder, of what was fetched before, or of a hub that answers."""
    try:
        try:
            return AutoConfig.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, KeyError):
            if Path(folder).is_dir() or not _hub_answers():
                raise
            return AutoConfig.from_pretrained(folder)
    except (OSError, ValueError, KeyError) as error:
        if Path(folder).is_dir():
            raise LoadError(f"the folder `{name}` holds no model that can be read: {error}", hint=FOLDER) from error
        raise LoadError(
            f"there is no language model `{name}`: not an embedded one, no folder, and not found on a hub",
            hint=f"{near(name, embedded())}; or {FOLDER}",
        ) from error


def _hub_answers() -> bool:
    """Whether the hub can be reached at all; a request for a file would be tried again for half a minute."""
    if HF_HUB_OFFLINE:
        return False
    if getproxies():
        return True
    hub = urlsplit(ENDPOINT)
    try:
        with create_connection((str(hub.hostname), hub.port or (80 if hub.scheme == "http" else 443)), timeout=3):
            return True
    except OSError:
        return False


def _weights(folder: str | Path, name: str, config: Any, kind: Kind, dtype: torch.dtype) -> Any:
    """The model; one with random weights where the file has none would answer, and answer nonsense."""
    loader = LOADERS[kind]
    try:
        model, report = loader.from_pretrained(
            folder, dtype=dtype, output_loading_info=True, **_attention(loader, config)
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise LoadError(
            f"the language model `{name}` can't be read: {error}", hint="is its model.safetensors whole?"
        ) from error
    if lost := sorted(report["missing_keys"]):
        raise LoadError(
            f"`{name}` is no {kind} language model: its file lacks {len(lost)} tensors, such as `{lost[0]}`",
            hint="it was saved as another kind (a classifier, an encoder alone); give one with its output layer",
        )
    return model


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers from writing bars and reports; what matters of them is raised."""
    bars, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def wrap(
    model: Any,
    backend: Any,
    *,
    name: str,
    kind: Kind,
    weights_hash: Callable[[], str] | None = None,
    left: bool = False,
) -> LocalLM:
    """A transformers model and its fast tokenizer as an LM; for models made on the spot.

    Args:
        model: with its output layer; it is frozen, and made to answer through the library's doors, for good.
        backend: its tokenizer.
        name: as it will be called.
        kind: how to use it.
        weights_hash: makes the identity of its weights; that of its tensors where not given.
        left: pad on the left (causal models).

    Raises:
        LoadError: it has no output layer, or its tokenizer is no fast one.
    """
    if model.get_output_embeddings() is None:
        raise LoadError(f"`{name}` has no output layer", hint="give a masked, causal or seq2seq language model")
    if getattr(model, "_supports_sdpa", False) and model.config._attn_implementation != ATTENTION:
        model.set_attn_implementation(ATTENTION)
    config, row = model.config, family(model.config.model_type)
    tokenizer = Tokenizer(backend, causal=kind == "causal")
    fill = getattr(config, FILL, row.fill)
    sentinel = tokenizer.sentinel() if fill == "sentinel" else None
    hole_id = hole(kind, fill, tokenizer.mask, sentinel)
    _forget_habits(model)
    layout = Layout(
        kind=kind,
        fill="direct" if hole_id is None else fill,  # a seq2seq model whose tokenizer has nothing to put at a slot
        hole_id=hole_id,
        decoder_start=int(getattr(config, "decoder_start_token_id", None) or 0),
        types=int(getattr(config, "type_vocab_size", 1) or 1),
    )
    return LocalLM(
        model, tokenizer, name=name, kind=kind, family=row, layout=layout, left=left,
        window=_window(config, backend, row.reserved), weights_hash=weights_hash or (lambda: _hash_tensors(model)),
    )  # fmt: skip


def _forget_habits(model: Any) -> None:
    """Keep of a model's own way of generating its marks alone; `Decode` says all the rest, penalties too."""
    if old := getattr(model, "generation_config", None):
        names = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")
        kept = {name: getattr(old, name) for name in names}
        model.generation_config = GenerationConfig(**kept)  # type: ignore[no-untyped-call]


def _kind(config: Any, name: str) -> Kind:
    said = " ".join(config.architectures or ())
    if config.is_encoder_decoder:
        return "seq2seq"
    if "MaskedLM" in said or "PreTraining" in said:
        return "masked"
    if "CausalLM" in said or "LMHead" in said:
        return "causal"
    for kind, loader in LOADERS.items():
        if type(config) in loader._model_mapping:
            return kind
    raise LoadError(
        f"`{name}` is not a language model: {said or config.model_type}", hint="give a masked, causal or seq2seq model"
    )


def _attention(loader: Any, config: Any) -> dict[str, str]:
    cls = loader._model_mapping.get(type(config), None)
    return {"attn_implementation": ATTENTION} if getattr(cls, "_supports_sdpa", False) else {}


def _window(config: Any, backend: Any, reserved: int) -> int:
    named = ("max_position_embeddings", "n_positions", "max_source_positions")
    table = next((int(size) for size in (getattr(config, name, None) for name in named) if size), 512)
    return min(table - reserved, int(min(backend.model_max_length, 10**9)))


def _device(device: str | None) -> torch.device:
    try:
        found = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:
        raise SettingError(f"there is no device `{device}` here: {error}", hint="use cpu") from error
    return found


def _hash(folder: str | Path, model: nn.Module) -> str:
    """Of the weight files, whatever dtype they were read in; of the tensors where there are none."""
    where = Path(folder)
    if not where.is_dir():
        where = Path(str(cached_file(str(folder), "config.json", local_files_only=True))).parent
    weights = sorted(where.glob("*.safetensors")) or sorted(where.glob("*.bin"))
    if not weights:
        return _hash_tensors(model)
    digest = hashlib.sha256()
    for one in weights:
        with one.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:16]


def _hash_tensors(model: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
