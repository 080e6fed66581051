"""`promptatlas show`: what a saved prompt is made of."""

import json
from typing import TYPE_CHECKING, Any

from promptatlas.cli import print as printed
from promptatlas.cli.options import Device, Dtype, Folder, Json, OtherLm, members, model

if TYPE_CHECKING:
    from torch import Tensor

    from promptatlas.prompting import Prompt

NEAREST = 3  # words named for each vector
LONG = 300  # characters of a component's settings that are shown


def show(
    folder: Folder, lm: OtherLm = None, device: Device = None, dtype: Dtype = "float32", as_json: Json = False
) -> None:
    """Show a saved prompt: template, words, parts, demonstrations, calibration, history.

    With --lm, also the words nearest to each of its vectors, by cosine.
    """
    with printed.Bar() as bar:
        bar.step(f"reading {folder}")
        from promptatlas.artifact.load import load
        from promptatlas.artifact.save import size

        prompt = load(folder)
        found = model(lm, device, dtype, bar) if lm else None
        described: dict[str, Any] = {
            "folder": str(folder),
            "bytes": size(folder),
            "prompts": [_described(one, found) for one in members(prompt)],
        }
    if as_json:
        printed.data(described)
        return
    for at, one in enumerate(described["prompts"]):
        several = len(described["prompts"]) > 1
        name = f"prompt {at + 1} of {folder}" if several else str(folder)
        _print(one, f"{name}, {described['bytes']:,} bytes")


def _described(prompt: "Prompt", lm: Any) -> dict[str, Any]:
    if lm is not None:
        prompt.check(lm)
    return {
        "template": str(prompt.template),
        "words": _component(prompt.words),
        "parts": {name: _part(part, lm) for name, part in prompt.parts.items()},
        "demos": _component(prompt.demos),
        "between": str(prompt.between),
        "calibration": [_component(one) for one in prompt.calibration],
        "view": _component(prompt.view),
        "history": [
            {
                "method": step.method,
                "settings": _plain(step.settings),
                "lm": dict(step.lm),
                "task": step.task,
                "figures": dict(step.figures),
            }
            for step in prompt.history
        ],
    }


def _component(component: Any) -> dict[str, Any]:
    settings = {key: value for key, value in _plain(component.config()).items() if key not in ("kind", "version")}
    return {
        "kind": component.kind,
        "settings": settings,
        "tensors": {name: _tensor(one) for name, one in component.tensors().items()},
    }


def _part(part: Any, lm: Any) -> dict[str, Any]:
    described = {"site": part.site, **_component(part)}
    if lm is not None and part.site == "inputs":
        ids = part.ids
        described["nearest"] = (
            _nearest(lm, part.vectors(lm, [])) if ids is None else [[piece] for piece in lm.pieces(ids)]
        )
    return described


def _nearest(lm: Any, vectors: "Tensor") -> list[list[str]]:
    from torch.nn.functional import normalize

    table = normalize(lm.vectors.float(), dim=-1)
    near = (
        (normalize(vectors.detach().float().to(table.device), dim=-1) @ table.T).topk(NEAREST).indices
    )  # [length, nearest]
    return [lm.pieces(ids) for ids in near.tolist()]


def _tensor(tensor: "Tensor") -> dict[str, Any]:
    return {"shape": list(tensor.shape), "norm": round(float(tensor.float().norm()), 6)}


def _plain(value: Any) -> Any:
    from promptatlas.artifact.save import plain

    return plain(value)


def _print(prompt: dict[str, Any], title: str) -> None:
    rows: list[tuple[str, printed.Cell]] = [("template", prompt["template"])]
    rows += [(name, _short(prompt[name])) for name in ("words", "demos")]
    rows += [("between", json.dumps(prompt["between"]))] if prompt["demos"]["kind"] != "none" else []
    rows += [("calibration", _short(one)) for one in prompt["calibration"]]
    rows += [("view", _short(prompt["view"]))] if prompt["view"]["kind"] != "one" else []
    printed.pairs(rows, title=title)
    if prompt["parts"]:
        printed.text()
        lines = [line for name, part in prompt["parts"].items() for line in _tensors(name, part)]
        printed.table(("part", "kind", "site", "tensor", "shape", "norm"), lines)
    for name, part in prompt["parts"].items():
        if "nearest" in part:
            printed.text()
            printed.table(
                ("at", "nearest words"), [(at, " ".join(words)) for at, words in enumerate(part["nearest"])], title=name
            )
    if prompt["history"]:
        printed.text()
        steps = [
            (one["method"], one["lm"].get("name"), _pairs(one["settings"]), _pairs(one["figures"]))
            for one in prompt["history"]
        ]
        printed.table(("history", "model", "settings", "figures"), steps)


def _tensors(name: str, part: dict[str, Any]) -> list[tuple[printed.Cell, ...]]:
    """A line a tensor; one for all where they are many."""
    tensors = part["tensors"]
    if len(tensors) > 8:
        norm = sum(one["norm"] ** 2 for one in tensors.values()) ** 0.5
        return [(name, part["kind"], part["site"], f"{len(tensors)} tensors", "", norm)]
    rows: list[tuple[printed.Cell, ...]] = [
        (name, part["kind"], part["site"], key, " × ".join(map(str, one["shape"])), one["norm"])
        for key, one in tensors.items()
    ]
    return rows or [(name, part["kind"], part["site"], _pairs(part["settings"]), "", None)]


def _short(component: dict[str, Any]) -> str:
    text = _pairs(component["settings"])
    tensors = ", ".join(f"{name} [{', '.join(map(str, one['shape']))}]" for name, one in component["tensors"].items())
    said = "; ".join(one for one in (text, tensors) if one)
    return f"{component['kind']}" + (f": {said[:LONG]}{'…' if len(said) > LONG else ''}" if said else "")


def _pairs(values: dict[str, Any]) -> str:
    return ", ".join(f"{key} {_value(value)}" for key, value in values.items())


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value) if isinstance(value, str | int) else json.dumps(value, ensure_ascii=False)
