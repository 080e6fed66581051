"""What a prefix has become: how large its keys and values are in each layer, and how far they have come.

Imports torch.
"""

from typing import Any

from torch import Tensor

from promptatlas.cli.vectors import first, rounded
from promptatlas.lm.lm import LM
from promptatlas.parts.prefix import Prefix
from promptatlas.parts.reparam import MLPPrefix, flat
from promptatlas.prompting import Prompt

SIDES = ("keys", "values")


def explained(prompt: Prompt, name: str, lm: LM | None) -> dict[str, Any]:
    """Of a prefix: its length, where text stands, what became of its MLP, and a line a layer of each place.

    A norm is that of one head's key or value at one position; a layer's is their mean, least and most. How far they
    have come, on average, is known where the model is at hand and the start can be made again.
    """
    part: Any = prompt.parts[name]
    if not isinstance(part, Prefix | MLPPrefix):
        return {}
    kept = flat(part)
    start, why = (None, NO_MODEL) if lm is None else first(prompt, name, lm)
    before = {} if start is None else flat(start).tensors()
    layers = [
        {"place": place, "layer": layer} | _layer(one, before[place][layer] if before else None)
        for place, values in kept.tensors().items()
        for layer, one in enumerate(values)
    ]
    about = {"length": kept.length, "places": list(kept.places), "positions": kept.positions, "mlp": _mlp(prompt, part)}
    return about | {"layers": layers, "why": why}


NO_MODEL = "the model isn't at hand"


def _layer(values: Tensor, before: Tensor | None) -> dict[str, Any]:
    """Of [2, heads, length, dim]."""
    norms = values.norm(dim=-1).flatten(1)  # [2, heads * length]
    found: dict[str, Any] = {}
    for side, one in zip(SIDES, norms, strict=True):
        mean, least, most = rounded(
            one.new_tensor([one.mean(), one.min(), one.max()]) if len(one) else one.new_zeros(3)
        )
        found[side] = {"mean": mean, "min": least, "max": most}
    moved = None if before is None else rounded((values - before).norm(dim=-1).flatten(1).mean(1))
    return found | {"moved": None if moved is None else dict(zip(SIDES, moved, strict=True))}


def _mlp(prompt: Prompt, part: Prefix | MLPPrefix) -> str:
    """What became of the MLP it was trained through."""
    if isinstance(part, MLPPrefix):
        return "kept"
    widths = [int(step.figures["mlp"]) for step in prompt.history if "mlp" in step.figures]
    if not widths:
        return "unknown"
    return f"dropped, {max(widths)} wide" if max(widths) else "none"
