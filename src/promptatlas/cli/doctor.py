"""`promptatlas doctor`: what is installed here, and what a language model can do."""

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any

import typer

from promptatlas.cli import print as show
from promptatlas.cli.options import Device, Dtype, Json, model
from promptatlas.errors import CannotAttach

PACKAGES = (
    "promptatlas", "torch", "transformers", "tokenizers", "safetensors", "accelerate", "numpy", "scikit-learn",
    "seqeval", "sacrebleu", "datasets", "peft",
)  # fmt: skip


def doctor(
    lm: Annotated[str | None, typer.Option("--lm", help="A language model to look at.", show_default=False)] = None,
    device: Device = None,
    dtype: Dtype = "float32",
    as_json: Json = False,
) -> None:
    """Say what is installed, which devices, models and tasks there are, and what a language model can do."""
    with show.Bar() as bar:
        bar.step("looking")
        report: dict[str, Any] = {"versions": _versions(), **_machine(), **_embedded()}
        if lm is not None:
            report["lm"] = _model(model(lm, device, dtype, bar))
    if as_json:
        show.data(report)
        return
    show.pairs(((name, found or "not installed") for name, found in report["versions"].items()), title="versions")
    show.text()
    show.pairs(
        (
            (name.replace("_", " "), _cell(report[name]))
            for name in ("threads", "devices", "models", "tasks", "methods")
        ),
        title="here",
    )
    if lm is not None:
        show.text()
        show.pairs(((name, _cell(value)) for name, value in report["lm"].items()), title=lm)


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def _machine() -> dict[str, Any]:
    import torch

    gpus = [f"cuda:{at} ({torch.cuda.get_device_name(at)})" for at in range(torch.cuda.device_count())]
    return {"threads": torch.get_num_threads(), "devices": ["cpu", *gpus]}


def _embedded() -> dict[str, Any]:
    from promptatlas import registry
    from promptatlas.data.read import embedded_tasks
    from promptatlas.lm.load import embedded

    return {"models": list(embedded()), "tasks": list(embedded_tasks()), "methods": list(registry.names())}


def _model(lm: Any) -> dict[str, Any]:
    try:
        prefix = ", ".join(f"{place}: {len(layers)} layers" for place, layers in lm.prefixes().items())
    except CannotAttach as error:
        prefix = f"no: {error.message}"
    return {
        "kind": lm.kind,
        "can": sorted(lm.can),
        "prefix": prefix,
        **(_fast(lm) if "weights" in lm.can else {}),
        "window": lm.window,
        "width": lm.width,
        "vocabulary": lm.vectors.shape[0],
        "parameters": sum(one.numel() for one in lm.parameters.values()),
        "mask": lm.pieces([lm.mask])[0] if lm.mask is not None else None,
        "device": str(lm.device),
        "weights": lm.identity["weights"],
        "tokenizer": lm.identity["tokenizer"],
    }


def _fast(lm: Any) -> dict[str, str]:
    """Which fast ways of reading the model gets, and why not the others."""
    offered = {
        "no padding": lm.fast.why.get("pack"),
        "answers branch from one text": lm.fast.why.get("branch"),
        "shared beginnings run once": lm.fast.why.get("share"),
        "frozen layers run once": None if lm.blocks and lm.kind != "seq2seq" else _no_blocks(lm),
        "log-probabilities in chunks": None if lm.bare else "something is done to its logits behind the head",
    }
    ways = {name: "yes" if why is None else f"no: {why}" for name, why in offered.items()}
    return {**ways, "positions a pass": f"{lm.budget:,}", "kept between reads": f"{lm.kept.limit >> 20:,} MB at most"}


def _no_blocks(lm: Any) -> str:
    if lm.kind == "seq2seq":
        return "a decoder's layers need what the first one says of distances"
    return "its layers can't be told apart (they share weights, or are not reached)"


def _cell(value: Any) -> show.Cell:
    if isinstance(value, list):
        return ", ".join(value) or "none"
    return value  # type: ignore[no-any-return]
