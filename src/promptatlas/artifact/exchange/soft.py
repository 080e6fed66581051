"""Soft prompts and prefixes as PEFT keeps them: one tensor, `prompt_embeddings`."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from promptatlas.artifact.exchange.adapter import Adapter, whole
from promptatlas.errors import ArtifactError
from promptatlas.lm.lm import LM
from promptatlas.lm.rotary import turned
from promptatlas.lm.shift import takes_cache
from promptatlas.parts.prefix import Prefix
from promptatlas.parts.vectors import Vectors

EMBEDDINGS = "prompt_embeddings"
Common = dict[str, Any]


def vectors_out(vectors: Float[Tensor, "length width"], kind: str) -> Adapter:
    """Prompt tuning's adapter, or P-tuning's, whose encoder has done its work."""
    config: Common = {"peft_type": kind, "num_virtual_tokens": len(vectors), "token_dim": vectors.shape[1]}
    # in a seq2seq model PEFT would count the vectors twice, and use the first half
    config["num_transformer_submodules"] = 1
    if kind == "P_TUNING":
        config |= {"encoder_reparameterization_type": "MLP", "encoder_hidden_size": vectors.shape[1]}
        config |= {"encoder_num_layers": 2, "encoder_dropout": 0.0}
    else:
        config |= {"prompt_tuning_init": "RANDOM", "prompt_tuning_init_text": None, "tokenizer_name_or_path": None}
    return Adapter(config, {EMBEDDINGS: vectors})


def vectors_in(adapter: Adapter, lm: LM) -> Vectors:
    """The vectors that PEFT uses: in a seq2seq model it keeps as many again that it never reads.

    Raises:
        ArtifactError: a tensor that isn't so, or of another width than the model's.
    """
    found = _embeddings(adapter)
    length = whole(adapter, "num_virtual_tokens", len(found))
    if len(found) % length:
        raise ArtifactError(f"`{EMBEDDINGS}` has {len(found)} rows, where {length} vectors are said to be")
    if found.shape[1] != lm.width:
        raise ArtifactError(
            f"the checkpoint's vectors are {found.shape[1]} wide{adapter.base}; those of `{lm.name}` are {lm.width}",
            hint=f"give --lm the model it was made for: one whose input vectors are {found.shape[1]} wide",
        )
    return Vectors(found[:length])


def prefix_out(part: Prefix, lm: LM) -> Adapter:
    """Prefix tuning's adapter.

    Raises:
        ArtifactError: PEFT has no such prefix.
    """
    if set(part.places) not in ({"self"}, {"decoder"}):
        raise ArtifactError(
            "PEFT can't express this prefix: it has one of its own for "
            + ", ".join(f"`{place}`" for place in sorted(part.places))
            + " attention, and PEFT puts one before the decoder's self-attention alone",
            hint="learn a prefix of `decoder` alone, or vectors at the input (`prompt_tuning`)",
        )
    if not takes_cache(lm):
        raise ArtifactError(
            f"PEFT can't express this prefix: it gives one as a cache of keys, and models like `{lm.name}` take none",
            hint="learn vectors at the input (`prompt_tuning`), or LoRA",
        )
    if not part.length:
        raise ArtifactError("PEFT can't express a prefix of length 0", hint="export another prompt")
    ((place, values),) = part.tensors().items()
    values = values if part.positions == "shifted" else _behind(values, lm)
    layers, _, heads, length, dim = values.shape
    depth = layers + (place == "decoder" and layers % 2 == 0)  # of an even depth PEFT makes two layers share a prefix
    slots = values.new_zeros(depth, 2, heads, length, dim)
    for layer in range(layers):
        slots[slot(layer, depth, place)] = values[layer]
    flat = slots.permute(3, 0, 1, 2, 4).reshape(length, -1)
    config: Common = {
        "peft_type": "PREFIX_TUNING", "num_virtual_tokens": length, "num_layers": depth, "token_dim": heads * dim,
        "num_attention_heads": heads, "num_transformer_submodules": 2 if place == "decoder" else 1,
        "encoder_hidden_size": heads * dim, "prefix_projection": False,
    }  # fmt: skip
    return Adapter(config, {EMBEDDINGS: flat})


def _behind(values: Float[Tensor, "layers two heads length dim"], lm: LM) -> Tensor:
    """An unshifted prefix for a text that is moved behind it: where positions are rotary, its keys are turned on."""
    keys = turned(lm, values[:, 0], values.shape[3])
    if keys is None:
        raise ArtifactError(
            "PEFT can't express this prefix: it leaves text at its own positions, and PEFT moves text behind a prefix",
            hint="learn one that does: `promptatlas fit p_tuning_v2 --set positions=shifted --set answer=words`",
        )
    return torch.stack([keys, values[:, 1]], 1)


def slot(layer: int, depth: int, place: str) -> int:
    """Where a layer's keys and values are: PEFT doubles a seq2seq model's and takes two of every four."""
    return layer if place == "self" else 2 * layer % depth


def prefix_in(adapter: Adapter, lm: LM) -> Prefix:
    """The prefix as PEFT applies it: layers that share one there get a copy each.

    Raises:
        ArtifactError: a tensor that isn't so, or keys and values of another shape than the model's.
    """
    flat, shapes = _embeddings(adapter), lm.prefixes()
    place = "self" if "self" in shapes else "decoder"
    layers, (heads, dim) = len(shapes[place]), _alike(shapes[place], lm)
    told = adapter.config.get("num_transformer_submodules")
    if place == "decoder" and told not in (None, 2):
        raise ArtifactError(f"a seq2seq prefix with num_transformer_submodules={told} isn't known here")
    depth = whole(adapter, "num_layers", layers)
    wide = 2 * depth * heads * dim
    theirs = adapter.config.get("num_attention_heads")
    fits = flat.shape[1] == wide and (depth == layers or (place == "decoder" and depth > layers))
    if not fits or (theirs is not None and theirs != heads):
        raise ArtifactError(
            f"the checkpoint has {flat.shape[1]} keys and values a position, for {depth} layers of {theirs or '?'} "
            f"heads{adapter.base}; `{lm.name}` has {2 * layers * heads * dim}, for {layers} layers of {heads} heads "
            f"of {dim}",
            hint="give --lm the model it was made for",
        )
    slots = flat.reshape(len(flat), depth, 2, heads, dim).permute(1, 2, 3, 0, 4)
    values = torch.stack([slots[slot(layer, depth, place)] for layer in range(layers)])
    return Prefix({place: values}, positions="shifted")


def _alike(shapes: Sequence[tuple[int, int]], lm: LM) -> tuple[int, int]:
    if len(set(shapes)) > 1:
        raise ArtifactError(f"the layers of `{lm.name}` have keys of different shapes, which PEFT's prefixes haven't")
    return shapes[0]


def _embeddings(adapter: Adapter) -> Float[Tensor, "length width"]:
    """The one tensor there is."""
    found: Mapping[str, Tensor] = adapter.tensors
    others = sorted(found.keys() - {EMBEDDINGS})
    if EMBEDDINGS not in found:
        raise ArtifactError(f"the checkpoint has no `{EMBEDDINGS}`", hint="copy the whole folder")
    if others:
        raise ArtifactError(
            f"the checkpoint holds other things beside its prompt: `{others[0]}`",
            hint="a classifier of another tool's isn't taken over; keep `prompt_embeddings` alone to take the prompt",
        )
    if found[EMBEDDINGS].dim() != 2 or not found[EMBEDDINGS].numel():
        raise ArtifactError(f"`{EMBEDDINGS}` has the shape {list(found[EMBEDDINGS].shape)}, not [vectors, width]")
    return found[EMBEDDINGS]
