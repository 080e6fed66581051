"""Low-rank differences as PEFT keeps them: `lora_A` [rank, inputs] and `lora_B` [outputs, rank] of each module."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from promptatlas.artifact.exchange.adapter import Adapter, whole
from promptatlas.errors import ArtifactError, CannotAttach
from promptatlas.lm.lm import LM
from promptatlas.lm.places import NAMES, Spot
from promptatlas.parts.weights import LoRA

KEY = re.compile(r"(?:base_model\.model\.)?(.+)\.lora_([AB])\.weight")
# what would make of A and B another function than W + scale · B A
OTHERWISE = ("use_dora", "lora_bias", "layer_replication", "alora_invocation_tokens", "target_parameters",
             "trainable_token_indices", "use_qalora", "arrow_config")  # fmt: skip
PLAIN = (None, True, False, "gaussian", "orthogonal", "eva")  # starts that leave the model's own weights as they are

Pair = tuple[Tensor, Tensor]  # down [rank, inputs], up [outputs, rank]


def lora_out(part: LoRA, lm: LM) -> Adapter:
    """LoRA's adapter; shares of a fused projection become one difference of their ranks' sum."""
    config, tensors = part.config(), part.tensors()
    spots = [spot for place in config["places"] for spot in lm.places(place)]
    if len(spots) != len(tensors) // 2:
        raise CannotAttach(
            f"{len(tensors) // 2} differences for {len(spots)} projections of {lm.name}",
            hint="they belong to another model",
        )
    modules: dict[str, list[tuple[Spot, Pair]]] = {}
    for i, spot in enumerate(spots):
        pair = (tensors[f"{i}.down"], tensors[f"{i}.up"])
        modules.setdefault(spot.name.removesuffix(".weight"), []).append((spot, pair))
    joined = {name: _joined(shares, lm) for name, shares in modules.items()}
    ranks = {name: len(down) for name, (down, _) in joined.items()}
    rank = max(ranks.values())
    said: dict[str, Any] = {
        "peft_type": "LORA", "r": rank, "lora_alpha": config["scale"] * rank, "lora_dropout": 0.0, "bias": "none",
        "target_modules": sorted(joined), "fan_in_fan_out": any(spot.transposed for spot in spots),
        "init_lora_weights": True, "use_rslora": False,
        "rank_pattern": {name: one for name, one in ranks.items() if one != rank},
        "alpha_pattern": {name: config["scale"] * one for name, one in ranks.items() if one != rank},
    }  # fmt: skip
    kept = {
        f"base_model.model.{name}.lora_{side}.weight": one
        for name, pair in joined.items()
        for side, one in zip("AB", pair, strict=True)
    }
    return Adapter(said, kept)


def _joined(shares: list[tuple[Spot, Pair]], lm: LM) -> Pair:
    """One difference for a whole module."""
    spot = shares[0][0]
    whole_size = lm.parameters[spot.name].shape[1 if spot.transposed else 0]
    ups = []
    for one, (_, up) in shares:
        ups.append(torch.nn.functional.pad(up, (0, 0, one.start, whole_size - one.start - one.outputs)))
    return torch.cat([down for _, (down, _) in shares]), torch.cat(ups, 1)


def lora_in(adapter: Adapter, lm: LM) -> LoRA:
    """The differences, by the places that are known here.

    Raises:
        ArtifactError: modules nobody knows here, shapes that don't fit, or a kind of LoRA that isn't W + scale · B A.
    """
    _check(adapter)
    pairs = {_module(name, lm): pair for name, pair in _pairs(adapter)}
    scales = {module: _scale(adapter, module, len(down)) for module, (down, _) in pairs.items()}
    common = next(iter(scales.values())) if len(set(scales.values())) == 1 else 1.0
    ups = {module: up * (scales[module] / common) if common else up for module, (_, up) in pairs.items()}
    places: list[str] = []
    downs: list[Tensor] = []
    shares: list[Tensor] = []
    left = set(pairs)
    for place in NAMES:
        spots = _spots(place, lm)
        mine = [one for one in spots if one.name in pairs]
        for one in mine:
            _check_shape(one, pairs[one.name], adapter, lm)
        left -= {one.name for one in mine}
        if not any(_learned(one, ups[one.name]) for one in mine):
            continue  # nothing there, or a share of a fused projection that nothing was learned for
        places.append(place)
        for one in spots:  # a layer that was left out has a difference of nothing
            down, up = pairs.get(one.name, (torch.zeros(1, one.inputs), None))
            downs.append(down)
            shares.append(torch.zeros(one.outputs, 1) if up is None else _share(one, ups[one.name]))
    if left or not places:
        name = sorted(left)[0].removesuffix(".weight") if left else "nothing"
        raise ArtifactError(
            f"the checkpoint has a difference for `{name}`, which is no projection of `{lm.name}` that is known here",
            hint="these are: " + ", ".join(f"`{one}`" for one in NAMES if _spots(one, lm)),
        )
    return LoRA(places, common, downs, shares)


def _check(adapter: Adapter) -> None:
    for key in OTHERWISE:
        if adapter.config.get(key):
            raise ArtifactError(f"the checkpoint is LoRA with `{key}`, which isn't known here", hint="merge it in PEFT")
    start = adapter.config.get("init_lora_weights")
    if not (start is None or isinstance(start, bool)) and start not in PLAIN:
        raise ArtifactError(
            f"the checkpoint began with init_lora_weights={start!r}, which changes the model's own weights",
            hint="save it in PEFT with path_initial_model_for_weight_conversion, which makes a plain one of it",
        )


def _pairs(adapter: Adapter) -> Iterator[tuple[str, Pair]]:
    """Module -> both factors."""
    found: dict[str, dict[str, Tensor]] = {}
    for key, tensor in adapter.tensors.items():
        match = KEY.fullmatch(key)
        if not match or tensor.dim() != 2:
            raise ArtifactError(
                f"the checkpoint holds `{key}` {list(tensor.shape)}, which is neither side of a low-rank difference",
                hint="only lora_A and lora_B of linear modules are taken over",
            )
        found.setdefault(match[1], {})[match[2]] = tensor
    if not found:
        raise ArtifactError("the checkpoint holds no differences", hint="copy the whole folder")
    for name, sides in found.items():
        if len(sides) < 2 or sides["A"].shape[0] != sides["B"].shape[1]:
            raise ArtifactError(f"the two sides of the difference for `{name}` don't fit", hint="copy the folder again")
        yield name, (sides["A"], sides["B"])


def _module(name: str, lm: LM) -> str:
    """The parameter of a module: by its whole name, or by its end where the checkpoint was made on a bare body."""
    weight = f"{name}.weight"
    ends = [one for one in lm.parameters if one == weight or one.endswith(f".{weight}")]
    if weight in ends:
        return weight
    if len(ends) != 1:
        raise ArtifactError(
            f"the checkpoint has a difference for `{name}`, and `{lm.name}` has no such module",
            hint="give --lm the model it was made for; its modules are like `"
            + next(iter(lm.parameters)).rsplit(".", 1)[0] + "`",
        )  # fmt: skip
    return ends[0]


def _scale(adapter: Adapter, weight: str, rank: int) -> float:
    """What a module's difference is multiplied by."""
    alpha = _pattern(adapter.config.get("alpha_pattern"), weight.removesuffix(".weight"))
    alpha = adapter.config.get("lora_alpha", 8) if alpha is None else alpha
    whole(adapter, "r", rank)
    if isinstance(alpha, bool) or not isinstance(alpha, int | float):
        raise ArtifactError(f"`lora_alpha` is {alpha!r}, not a number", hint="copy the folder again")
    return float(alpha) / (rank**0.5 if adapter.config.get("use_rslora") else rank)


def _pattern(patterns: object, module: str) -> object:
    """A module's own setting. Patterns of strangers aren't run: they may only name modules, by their ends."""
    for key, value in (patterns if isinstance(patterns, Mapping) else {}).items():
        name = str(key).removeprefix("^")
        if not re.fullmatch(r"[\w.]+", name):
            raise ArtifactError(f"`alpha_pattern` has the pattern `{key}`, and only names of modules are read here")
        if module == name or (module.endswith(f".{name}") and not str(key).startswith("^")):
            found: object = value
            return found
    return None


def _spots(place: str, lm: LM) -> list[Spot]:
    try:
        return lm.places(place)
    except CannotAttach:
        return []


def _learned(spot: Spot, up: Tensor) -> bool:
    """Whether a difference is this share's too: not where another share alone has learned anything."""
    return not bool(up.any()) or bool(_share(spot, up).any()) or len(up) == spot.outputs


def _share(spot: Spot, up: Tensor) -> Tensor:
    return up[spot.start : spot.start + spot.outputs]


def _check_shape(spot: Spot, pair: Pair, adapter: Adapter, lm: LM) -> None:
    down, up = pair
    outputs = lm.parameters[spot.name].shape[1 if spot.transposed else 0]
    if down.shape[1] != spot.inputs or up.shape[0] != outputs:
        raise ArtifactError(
            f"the checkpoint's difference for `{spot.name.removesuffix('.weight')}` is {up.shape[0]} × {down.shape[1]}"
            f"{adapter.base}; in `{lm.name}` it would be {outputs} × {spot.inputs}",
            hint="give --lm the model it was made for",
        )
