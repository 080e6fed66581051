"""Names for places inside a model, so that parts never spell module names."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from promptatlas.errors import CannotAttach, near


@dataclass(frozen=True)
class Place:
    """A module whose output a part acts on, by what it is and its layer."""

    what: str
    layer: int
    module: str


@dataclass(frozen=True)
class Spot:
    """A projection among the parameters.

    Attributes:
        name: of the parameter.
        layer: which of its kind it is.
        inputs: how many values go in.
        outputs: how many come out.
        start: where on the parameter's output axis it begins, for fused ones.
        transposed: whether the parameter is [inputs, outputs], as GPT-2's are.
    """

    name: str
    layer: int
    inputs: int
    outputs: int
    start: int = 0
    transposed: bool = False


FUSED = r"(Wqkv|c_attn)"  # query, key and value in one; not GPT-NeoX's, which takes turns head by head
# what a projection is -> how its parameter's module is called; which share of a fused one it is, and of how many
NAMES: dict[str, list[tuple[str, int, int]]] = {
    "query": [(r"(query|query_proj|q_proj|q|q_lin)", 0, 1), (FUSED, 0, 3)],
    "key": [(r"(key|key_proj|k_proj|k|k_lin)", 0, 1), (FUSED, 1, 3)],
    "value": [(r"(value|value_proj|v_proj|v|v_lin)", 0, 1), (FUSED, 2, 3)],
    "attention.out": [
        (
            r"(attention\.output\.dense|attention\.dense|attn\.(Wo|o|c_proj)|out_proj|o_proj|\w*Attention\.o|out_lin)",
            0,
            1,
        )
    ],
    "up": [(r"(intermediate\.dense|mlp\.Wi|mlp\.c_fc|up_proj|fc1|wi|wi_0|ffn\.lin1|\w*layers\.\d+\.ffn)", 0, 1)],
    "down": [
        (
            r"((?<!attention\.)output\.dense|mlp\.Wo|mlp\.c_proj|down_proj|fc2|DenseReluDense\.wo|ffn\.lin2|ffn_output)",
            0,
            1,
        )
    ],
}


def spots(parameters: Mapping[str, Tensor], model: Any, what: str) -> list[Spot]:
    """Every projection called `what`, in order of the parameters. Raises CannotAttach naming what there is."""
    if what not in NAMES:
        raise CannotAttach(f"there is no place called `{what}`", hint=near(what, NAMES))
    found = _called(parameters, model, what)
    if not found:
        known = ", ".join(f"`{one}`" for one in NAMES if _called(parameters, model, one))
        hint = f"it has {known}" if known else "its parameters: " + ", ".join(list(parameters)[:8]) + ", …"
        raise CannotAttach(f"this model has no projection known as `{what}`", hint=hint)
    return found


def _called(parameters: Mapping[str, Tensor], model: Any, what: str) -> list[Spot]:
    found: list[Spot] = []
    for name, tensor in parameters.items():
        for pattern, share, of in NAMES[what]:
            if tensor.dim() == 2 and re.search(rf"(^|\.){pattern}\.weight$", name):
                spot = _spot(name, tensor, model, share, of, len(found))
                if of == 1 or spot.outputs == spot.inputs:  # else its shares differ: keys and values have fewer heads
                    found.append(spot)
    return found


def _spot(name: str, tensor: Tensor, model: Any, share: int, of: int, layer: int) -> Spot:
    module: nn.Module = model.get_submodule(name.rsplit(".", 1)[0])
    transposed = type(module).__name__ == "Conv1D"
    inputs, outputs = tensor.shape if transposed else tensor.shape[::-1]
    return Spot(name, layer, inputs, outputs // of, start=share * (outputs // of), transposed=transposed)
