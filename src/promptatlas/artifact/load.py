"""Folders -> prompts."""

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as from_bytes
from torch import Tensor

from promptatlas.artifact.folder import settle
from promptatlas.artifact.kinds import Role, find
from promptatlas.artifact.save import FORMAT, NAMES, PROMPT, TENSORS, VERSION
from promptatlas.errors import ArtifactError, TemplateError
from promptatlas.prompting import Ensemble, Prompt, Step
from promptatlas.text.template import Template

NEWER = "install a newer promptatlas"


def load(folder: str | Path) -> Prompt | Ensemble:
    """The prompt that was saved in a folder.

    Raises:
        ArtifactError: what is wrong with the folder, its `prompt.json` or its tensors.
    """
    folder = settle(Path(folder))
    record = _record(folder)
    tensors = _tensors(folder, record)
    try:
        if record["type"] == "prompt":
            return _prompt(record, tensors)
        if record["type"] != "ensemble":
            raise ArtifactError(f"`{folder}` holds a `{record['type']}`, not a prompt or an ensemble", hint=NEWER)
        prompts = tuple(_prompt(one, under(tensors, f"prompts/{at}")) for at, one in enumerate(record["prompts"]))
        mix, heed = record.get("mix", False), record.get("heed")  # ensembles were saved before they could mix
        return Ensemble(prompts=prompts, weights=tuple(record["weights"]), vote=record["vote"], mix=mix, heed=heed)
    except KeyError as error:
        raise ArtifactError(f"`{folder / PROMPT}` has no {error.args[0]!r}", hint="save the prompt again") from error
    except (TypeError, AttributeError) as error:
        raise ArtifactError(
            f"`{folder / PROMPT}` is not as it was written: {error}", hint="save the prompt again"
        ) from error


def under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix/`, by what follows it."""
    start = f"{prefix}/"
    return {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}


def _record(folder: Path) -> dict[str, Any]:
    path = folder / PROMPT
    if not path.is_file():
        missing = (
            f"has no `{PROMPT}`" if folder.is_dir() else "is not a folder" if folder.exists() else "does not exist"
        )
        raise ArtifactError(f"`{folder}` is no saved prompt: it {missing}", hint="give the folder `save` wrote")
    try:
        record = json.loads(path.read_bytes())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ArtifactError(f"`{path}` is not whole: {error}", hint="copy or save the prompt again") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise ArtifactError(f"`{path}` is not a promptatlas prompt", hint="give the folder `save` wrote")
    if not isinstance(record.get("version"), int) or record["version"] > VERSION:
        raise ArtifactError(
            f"`{path}` is of version {record.get('version')}; up to {VERSION} is known here", hint=NEWER
        )
    return record


def _tensors(folder: Path, record: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors, each as `prompt.json` says it is."""
    path, told = folder / TENSORS, record.get("tensors", {})
    if not told:
        return {}
    if not path.is_file():
        raise ArtifactError(
            f"`{folder}` has no `{TENSORS}`, and its prompt has learned parts", hint="copy the whole folder"
        )
    whole = path.read_bytes()
    try:
        tensors = from_bytes(whole)
    except SafetensorError as error:
        raise ArtifactError(f"`{path}` is not whole: {error}", hint="copy or save the prompt again") from error
    for name, what in told.items():
        if name not in tensors:
            raise ArtifactError(f"`{path}` has no tensor `{name}`", hint="copy the whole folder")
        if list(tensors[name].shape) != what["shape"]:
            found = list(tensors[name].shape)
            raise ArtifactError(
                f"`{name}` in `{path}` has the shape {found}, not {what['shape']}", hint="copy the whole folder"
            )
    if "digest" in record and sha256(whole).hexdigest() != record["digest"]:
        raise ArtifactError(f"`{path}` is not as it was written: its bytes have changed", hint="copy the folder again")
    return {name: tensors[name] for name in told}


def _prompt(record: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Prompt:
    parts, calibration = record["parts"], record["calibration"]
    return Prompt(
        template=_template(record["template"]),
        words=_component("words", record["words"], under(tensors, "words")),
        parts={name: _component("parts", one, under(tensors, f"parts/{name}")) for name, one in parts.items()},
        demos=_component("demos", record["demos"], under(tensors, "demos")),
        between=_template(record["between"]),
        calibration=tuple(
            _component("calibration", one, under(tensors, f"calibration/{at}")) for at, one in enumerate(calibration)
        ),
        view=_component("view", record["view"], under(tensors, "view")),
        history=tuple(_step(step) for step in record["history"]),
    )


def _template(text: str) -> Template:
    try:
        return Template.parse(text)
    except TemplateError as error:
        raise ArtifactError(f"the saved template can't be read: {error.message}", hint=error.hint) from error


def _component(role: Role, saved: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Any:
    kind = find(role, saved["kind"])
    if saved["version"] > kind.version:
        version = f"of version {saved['version']}; up to {kind.version} is known here"
        raise ArtifactError(f"the kind `{kind.kind}` of {role} is {version}", hint=NEWER)
    try:
        return kind.build({key: value for key, value in saved.items() if key not in NAMES}, tensors)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        said = f"{type(error).__name__}: {error}"
        raise ArtifactError(
            f"the kind `{kind.kind}` of {role} can't be rebuilt: {said}", hint="save the prompt again"
        ) from error


def _step(saved: Mapping[str, Any]) -> Step:
    return Step(
        method=saved["method"], settings=saved["settings"], lm=saved["lm"], task=saved["task"], figures=saved["figures"]
    )
