"""Two steps of a pass, written out where that is faster than what torch offers: attention, and chosen tokens' scores.

Both compute what the plain path computes, to rounding.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers.integrations.sdpa_attention import sdpa_attention_forward

CHUNK = 256  # points whose whole vocabulary is held at once: it stays in the processor's cache
QUERIES = 128  # queries of a causal row that are taken together: they see no key behind their own


@torch.compiler.disable  # type: ignore[untyped-decorator]
def attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **settings: Any
) -> tuple[Tensor, Any]:
    """Attention; in bfloat16 on a CPU as plain products, which take a third of the time of torch's kernel there."""
    plain = query.device.type == "cpu" and query.dtype == torch.bfloat16
    if not plain or settings.get("dropout") or settings.get("cache") is not None:
        found: tuple[Tensor, Any] = sdpa_attention_forward(module, query, key, value, attention_mask, **settings)
        return found
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    scaling = settings.get("scaling")
    query = query * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    bias, queries = settings.get("position_bias"), query.shape[2]
    if attention_mask is None and bias is None and queries > 1 and causal(module, settings):
        steps = range(0, queries, QUERIES)
        some = [_triangle(query[:, :, at : at + QUERIES], key, value, at) for at in steps]
        out = torch.cat(some, 2) if len(some) > 1 else some[0]  # [rows, heads, queries, dim]
    else:
        scores = query @ key.transpose(-1, -2)
        scores = scores if bias is None else scores + bias
        out = _hidden(scores, attention_mask, causal(module, settings)).softmax(-1).to(value.dtype) @ value
    return out.transpose(1, 2).contiguous(), None


def _triangle(query: Tensor, key: Tensor, value: Tensor, at: int) -> Tensor:
    """The queries from `at` on: all keys before them, and among themselves each those up to its own."""
    end = at + query.shape[2]
    scores = query @ key[:, :, :end].transpose(-1, -2)
    later = torch.ones(query.shape[2], scores.shape[-1] - at, dtype=torch.bool, device=query.device).triu(1)
    scores[..., at:].masked_fill_(later, torch.finfo(scores.dtype).min)
    return scores.softmax(-1) @ value[:, :, :end]


def causal(module: nn.Module, settings: Mapping[str, Any]) -> bool:
    """Whether a query sees no key behind its own, as transformers says it: by the call, or else by the module."""
    said = settings.get("is_causal")
    return bool(getattr(module, "is_causal", True) if said is None else said)


def _hidden(scores: Tensor, mask: Tensor | None, forward: bool) -> Tensor:
    """Scores with what a query must not see far below all others."""
    queries, keys = scores.shape[-2:]
    if mask is None and forward and queries > 1:  # as torch does: the first query sees the first key alone
        mask = torch.ones(queries, keys, dtype=torch.bool, device=scores.device).tril()
    if mask is None:
        return scores
    if mask.dtype == torch.bool:
        return scores.masked_fill(~mask[..., :keys], torch.finfo(scores.dtype).min)
    return scores + mask[..., :keys]


class _Chosen(torch.autograd.Function):
    """Log-probabilities of one token a point among all rows of the output projection, a chunk of points at a time."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, bias: Tensor | None, ids: Tensor) -> Tensor:
        """[points]: states [points, head], weight [vocab, head], bias [vocab] or None, ids [points]."""
        needs = [bool(one) for one in ctx.needs_input_grad]
        chances: list[Tensor] | None = [] if any(needs[1:3]) else None
        logp = torch.empty(len(ids), dtype=torch.float32, device=states.device)
        back = torch.empty_like(states) if needs[0] else None
        for at in range(0, len(ids), CHUNK):
            span = slice(at, at + CHUNK)
            scores = nn.functional.linear(states[span], weight, bias).float()
            share = scores.softmax(-1)  # [chunk, vocab]
            right = ids[span, None]
            top, best = scores.max(-1)  # its share is never too small for a logarithm
            logp[span] = scores.gather(1, right)[:, 0] - top + share.gather(1, best[:, None])[:, 0].log()
            share = share.to(states.dtype)
            if back is not None:
                back[span] = weight[ids[span]] - share @ weight
            if chances is not None:
                chances.append(share)
        ctx.save_for_backward(*(one for one in (back, states, ids) if one is not None), *(chances or ()))
        ctx.back, ctx.shape = back is not None, weight.shape
        return logp

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        """Gradients of what needs them."""
        grad = grads[0]
        saved = list(ctx.saved_tensors)
        back = saved.pop(0) if ctx.back else None
        states, ids, *chances = saved
        to_states = None if back is None else back * grad[:, None].to(back.dtype)
        to_weight = to_bias = None
        if chances:
            scaled = states * grad[:, None].to(states.dtype)
            if ctx.needs_input_grad[1]:
                to_weight = _outer(chances, scaled, ids, ctx.shape)
            if ctx.needs_input_grad[2]:
                flat = [
                    -(one * grad[i * CHUNK : i * CHUNK + len(one), None].to(one.dtype)).sum(0)
                    for i, one in enumerate(chances)
                ]
                to_bias = torch.stack([one.float() for one in flat]).sum(0).index_add_(0, ids, grad.float())
        return to_states, to_weight, to_bias, None


def _outer(chances: list[Tensor], scaled: Tensor, ids: Tensor, shape: torch.Size) -> Tensor:
    """[vocab, head]: what each row of the projection is moved by."""
    total = torch.zeros(shape, dtype=torch.float32, device=scaled.device)
    total.index_add_(0, ids, scaled.float())
    for i, one in enumerate(chances):
        total -= one.T @ scaled[i * CHUNK : i * CHUNK + len(one)]
    return total.to(scaled.dtype)


def chosen(states: Tensor, weight: Tensor, bias: Tensor | None, ids: Tensor) -> Tensor:
    """Log-probability of one token a point: [points], float32.

    Args:
        states: [points, head], what enters the output projection.
        weight: [vocab, head].
        bias: [vocab], or None.
        ids: [points].
    """
    device = states.device.type
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        states, weight, bias = states.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
    if not torch.is_grad_enabled():  # inside the function nobody could tell
        states, weight, bias = states.detach(), weight.detach(), None if bias is None else bias.detach()
    with torch.autocast(device, enabled=False):
        found: Tensor = _Chosen.apply(states, weight, bias, ids)  # type: ignore[no-untyped-call]
    return found
