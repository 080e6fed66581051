"""Where a model's attention layers are, and the shape of their keys and values: what a prefix has to know."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from promptatlas.lm.doors import RECORD

if TYPE_CHECKING:
    from promptatlas.lm.local import LocalLM


@dataclass(frozen=True)
class Attention:
    """Shapes of keys and values: place -> (heads, dim) a layer. Places are "self", or "encoder", "decoder" and "cross".

    Empty where attention isn't reached through the attention interface. Heads are those of keys and values (fewer than
    the queries' under grouped attention).
    """

    layers: Mapping[str, tuple[tuple[int, int], ...]]


def find(lm: "LocalLM") -> Attention:
    """Run three tokens, note every call of attention in order, and tell each module where it stands."""
    ids = torch.full((1, 3), lm.tokenizer.filler, device=lm.device)
    calls: dict[str, list[tuple[nn.Module, Tensor, int]]] = {}
    with torch.no_grad():
        if lm.kind == "seq2seq":
            encoded, calls["encoder"] = _recorded(lm.model.get_encoder(), input_ids=ids)
            _, decoding = _recorded(lm.model, encoder_outputs=encoded, decoder_input_ids=ids[:, :2], use_cache=False)
            calls["cross"] = [call for call in decoding if call[1].shape[2] == ids.shape[1]]
            calls["decoder"] = [call for call in decoding if call[1].shape[2] != ids.shape[1]]
        else:
            _, calls["self"] = _recorded(lm.body, input_ids=ids)
    for place, found in calls.items():
        shared = len({id(module) for module, _, _ in found}) < len(found)
        for i, (module, _, _) in enumerate(found):
            module._promptatlas_place = (place, -1 if shared else i)  # type: ignore[assignment]
    shapes = {
        place: tuple((key.shape[1], key.shape[3]) for _, key, _ in found) for place, found in calls.items() if found
    }
    return Attention(shapes)


def _recorded(model: nn.Module, **inputs: object) -> tuple[object, list[tuple[nn.Module, Tensor, int]]]:
    calls: list[tuple[nn.Module, Tensor, int]] = []
    token = RECORD.set(calls)
    try:
        return model(**inputs), calls
    finally:
        RECORD.reset(token)
