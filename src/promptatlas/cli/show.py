"""`promptatlas show`: what a saved prompt is made of."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptatlas.cli import print as printed
from promptatlas.cli.options import Device, Dtype, Folder, Json, OtherLm, members, model
from promptatlas.errors import ArtifactError, ModelError, SettingError

if TYPE_CHECKING:
    from torch import Tensor

    from promptatlas.prompting import Prompt

Picture = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Draw a soft prompt's vectors and the label words: .png, .svg, .pdf.", show_default=False
    ),
]
LONG = 300  # characters of a component's settings that are shown
EXPLAINED = {  # by site, what a model is wanted for, and what isn't known where it won't do
    "inputs": ("the words its vectors are near to are shown", "its vectors aren't explained"),
    "attention": ("how far its prefix has moved is shown", "how far its prefix has moved isn't known"),
}


def show(
    folder: Folder,
    lm: OtherLm = None,
    picture: Picture = None,
    device: Device = None,
    dtype: Dtype = "float32",
    as_json: Json = False,
) -> None:
    """Show a saved prompt: template, words, parts, demonstrations, calibration, history.

    Of a soft prompt also the words nearest to each vector with their cosines, its norm, and how far it has moved, where
    the language model is at hand: it comes with the package, is in a folder, or is given by --lm. Of a prefix the norms
    of its keys and values in each layer, and, where the model is at hand, how far those have moved.
    """
    if picture is not None:
        from promptatlas.cli.picture import check

        check(picture)
    with printed.Bar() as bar:
        bar.step(f"reading {folder}")
        from promptatlas.artifact.load import load
        from promptatlas.artifact.save import size

        prompt = load(folder)
        found = _model(members(prompt), lm, device, dtype, bar, needed=picture is not None)
        described: dict[str, Any] = {
            "folder": str(folder),
            "bytes": size(folder),
            "prompts": [_described(one, found) for one in members(prompt)],
        }
        if picture is not None:
            from promptatlas.cli.picture import draw

            draw(members(prompt), found, picture)
            printed.note(f"the picture is in {picture}")
    if as_json:
        printed.data(described)
        return
    for at, one in enumerate(described["prompts"]):
        several = len(described["prompts"]) > 1
        name = f"prompt {at + 1} of {folder}" if several else str(folder)
        _print(one, f"{name}, {described['bytes']:,} bytes")


def _model(
    prompts: "Sequence[Prompt]", name: str | None, device: str | None, dtype: str, bar: printed.Bar, *, needed: bool
) -> Any:
    """The model that is named or needed; else that of vectors there are to explain, if it is at hand."""
    learned = next((str(one.history[-1].lm.get("name")) for one in prompts if one.history), None)
    if name is None and needed and learned is None:
        raise SettingError("the prompt doesn't say which language model it is for", hint="say it with --lm")
    if name is not None or needed:
        return _loaded(prompts, name or str(learned), device, dtype, bar)
    sites = {part.site for one in prompts for part in one.parts.values()}
    site = next((one for one in EXPLAINED if one in sites), None)
    if learned is None or site is None:
        return None
    if not _here(learned):
        printed.note(f"{EXPLAINED[site][0]} where the model is: say where with --lm")
        return None
    try:
        return _loaded(prompts, learned, device, dtype, bar)
    except (ModelError, ArtifactError) as error:
        printed.note(f"{EXPLAINED[site][1]}: {error.message}")
        return None


def _loaded(prompts: "Sequence[Prompt]", name: str, device: str | None, dtype: str, bar: printed.Bar) -> Any:
    found = model(name, device, dtype, bar)
    for one in prompts:
        one.check(found)
    return found


def _here(name: str) -> bool:
    from promptatlas.lm.load import embedded

    return name in embedded() or Path(name).is_dir()


def _described(prompt: "Prompt", lm: Any) -> dict[str, Any]:
    return {
        "template": str(prompt.template),
        "words": _component(prompt.words),
        "parts": {name: _part(prompt, name, lm) for name in prompt.parts},
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


def _part(prompt: "Prompt", name: str, lm: Any) -> dict[str, Any]:
    part = prompt.parts[name]
    described = {"site": part.site, **_component(part)}
    if part.site == "attention":
        from promptatlas.cli import layers

        return described | layers.explained(prompt, name, lm)
    if lm is None or part.site != "inputs":
        return described
    from promptatlas.cli.vectors import explained

    return described | explained(prompt, name, lm)


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
            _vectors(name, part)
        if "layers" in part:
            printed.text()
            _layers(name, part)
    if prompt["history"]:
        printed.text()
        steps = [
            (one["method"], one["lm"].get("name"), _pairs(one["settings"]), _pairs(one["figures"]))
            for one in prompt["history"]
        ]
        printed.table(("history", "model", "settings", "figures"), steps)


def _vectors(name: str, part: dict[str, Any]) -> None:
    """A line a position: its nearest words, and what else is known of it."""
    if "norms" not in part:
        printed.table(("at", "words"), [(at, " ".join(one)) for at, one in enumerate(part["nearest"])], title=name)
        return
    moved = part["moved"] or [None] * len(part["norms"])
    lines = []
    for at, (words, cosines) in enumerate(zip(part["nearest"], part["cosines"], strict=True)):
        near = "  ".join(f"{word} {cosine:.2f}" for word, cosine in zip(words, cosines, strict=True))
        lines.append((at, near, part["norms"][at], moved[at]))
    printed.table(("at", "nearest words and cosines", "norm", "moved"), lines, title=name)
    printed.text(f"half of the vocabulary's vectors have a norm below {part['vocabulary_norm']:.4f}")
    if part["moved"] is None:
        printed.text(f"how far they moved isn't known: {part['why']}")


def _layers(name: str, part: dict[str, Any]) -> None:
    """A line a layer: norms of keys and values, and how far they have come."""
    columns = ("layer", "keys", "least", "most", "values", "least", "most", "keys moved", "values moved")
    lines = []
    for one in part["layers"]:
        moved = one["moved"] or {}
        norms = [one[side][what] for side in ("keys", "values") for what in ("mean", "min", "max")]
        lines.append((f"{one['place']} {one['layer']}", *norms, moved.get("keys"), moved.get("values")))
    printed.table(columns, lines, title=f"{name}: norms of {part['length']} positions by layer, over heads")
    printed.text(f"the text behind it is {part['positions']}; the MLP it was trained through: {part['mlp']}")
    if part["why"]:
        printed.text(f"how far they moved isn't known: {part['why']}")


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
