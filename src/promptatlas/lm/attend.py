"""Attention, as models get it that ask transformers' attention interface for it: the prefix door, and packed rows.

A packed row is spread out line by line, what is in flight is put in front of the keys and values, and the result is
gathered again.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import sdpa_mask

from promptatlas.lm import byhand
from promptatlas.lm.doors import FLIGHT, RECORD, Stopped
from promptatlas.lm.sheet import Pack

ATTENTION = "promptatlas"


def attend(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **settings: Any
) -> tuple[Tensor, Any]:
    """Attention line by line, with what is in flight in front of the keys and values."""
    record = RECORD.get()
    if record is not None:
        record.append((module, key, query.shape[2]))
    flight = FLIGHT.get()
    place = getattr(module, "_promptatlas_place", None)
    if flight is None or place is None:
        out: tuple[Tensor, Any] = byhand.attention(module, query, key, value, attention_mask, **settings)
        return out
    if flight.record is not None:
        flight.record.append((key, value))
        if len(flight.record) == flight.enough:
            raise Stopped  # of what is begun here others see the keys and values alone
    if flight.pack is not None:
        query, key, value, attention_mask, settings = _spread(
            flight.pack, flight.cross if place[0] == "cross" else None, query, key, value, attention_mask, settings
        )
    prefixes = flight.prefixes.get(place[0])
    if prefixes is not None:
        layer = place[1] if place[1] >= 0 else prefixes.count % len(prefixes.layers)
        prefixes.count += 1
        key, value, attention_mask, settings = _in_front(
            module, query, key, value, attention_mask, settings, prefixes.layers[layer], prefixes.seen
        )
    states, weights = byhand.attention(module, query, key, value, attention_mask, **settings)
    return (states if flight.pack is None else flight.pack.gather(states)), weights


def _spread(
    pack: Pack, cross: Pack | None, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None,
    settings: dict[str, Any],
) -> tuple[Tensor, Tensor, Tensor, Tensor | None, dict[str, Any]]:  # fmt: skip
    """A packed row as lines; `mask` and a bias of distances are the lines' already (see `masks`)."""
    keys = pack
    if cross is not None:  # every token of an answer sees the whole text it belongs to
        keys, mask = cross, cross.real[:, None, None, :]
        settings = {name: one for name, one in settings.items() if name != "position_bias"}
    return pack.spread(query), keys.spread(key), keys.spread(value), mask, settings


def masks(
    batch_size: int, q_length: int, kv_length: int, q_offset: int = 0, kv_offset: int = 0,
    attention_mask: Tensor | None = None, **settings: Any,
) -> Tensor | None:  # fmt: skip
    """What sees what, as transformers builds it; of a packed row, for its lines."""
    flight = FLIGHT.get()
    pack = flight.pack if flight else None
    if pack is None:
        return sdpa_mask(
            batch_size, q_length, kv_length, q_offset, kv_offset, attention_mask=attention_mask, **settings
        )
    if pack.tree is not None:
        return pack.tree
    rows, longest = pack.index.shape
    return sdpa_mask(rows, longest, longest, attention_mask=pack.real, **settings)


def _in_front(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, settings: dict[str, Any],
    layer: tuple[Tensor, Tensor], seen: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor | None, dict[str, Any]]:  # fmt: skip
    rows, _, queries, _ = query.shape
    keys = key.shape[2]
    more_key, more_value = (one.to(key.dtype).expand(rows, -1, -1, -1) for one in layer)
    length = more_key.shape[2]
    # sdpa aligns its own causal mask with the first key
    if mask is None and queries > 1 and byhand.causal(module, settings):
        mask = torch.ones(queries, keys, dtype=torch.bool, device=query.device).tril(keys - queries)[None, None]
    if mask is None and seen is not None:
        mask = torch.ones(1, 1, queries, keys, dtype=torch.bool, device=query.device)
    if mask is not None:
        front = torch.ones(1, length, dtype=torch.bool, device=query.device) if seen is None else seen
        front = front[:, None, None, :].expand(max(mask.shape[0], front.shape[0]), mask.shape[1], mask.shape[2], -1)
        if mask.dtype != torch.bool:
            front = torch.zeros_like(front, dtype=mask.dtype).masked_fill(~front, torch.finfo(mask.dtype).min)
        mask = torch.cat([front, mask.expand(front.shape[0], -1, -1, -1)], -1)  # [rows, 1, queries, length + keys]
    bias = settings.get("position_bias")
    if bias is not None and bias.shape[-1] == keys:  # else it has the distances to a prefix that shifts positions
        settings = settings | {"position_bias": nn.functional.pad(bias, (length, 0))}
    return torch.cat([more_key, key], 2), torch.cat([more_value, value], 2), mask, settings


AttentionInterface.register(ATTENTION, attend)
AttentionMaskInterface.register(ATTENTION, masks)
