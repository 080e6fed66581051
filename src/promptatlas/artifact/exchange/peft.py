"""PEFT's adapters, both ways: prompt tuning, P-tuning (its vectors), prefix tuning, LoRA.

PEFT keeps what was learned and nothing around it. An exported folder is an adapter that PEFT loads, and beside it, in
`promptatlas/`, the prompt without its part: template, words and whatever else there is, for the way back.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch

from promptatlas.artifact.exchange.adapter import CONFIG, TENSORS, Adapter, adapter_files, read_adapter
from promptatlas.artifact.exchange.lora import lora_in, lora_out
from promptatlas.artifact.exchange.soft import prefix_in, prefix_out, vectors_in, vectors_out
from promptatlas.artifact.folder import replace as replace_folder
from promptatlas.artifact.folder import settle, write
from promptatlas.artifact.load import load
from promptatlas.artifact.save import PROMPT, save
from promptatlas.errors import ArtifactError, near
from promptatlas.lm.lm import LM, Kind
from promptatlas.lm.site import InputsPart, Part
from promptatlas.parts.prefix import Prefix
from promptatlas.parts.weights import LoRA
from promptatlas.prompting import Ensemble, Prompt, Step, model
from promptatlas.prompting.make import prompt as make
from promptatlas.text.pieces import MarkPiece, PartPiece
from promptatlas.text.runs import MarkRun, TextRun

SIDE = "promptatlas"  # the folder with the rest of the prompt
TEMPLATE = "{text}{mask}"  # of a checkpoint that came alone
TASKS: Mapping[Kind, str] = {"masked": "FEATURE_EXTRACTION", "causal": "CAUSAL_LM", "seq2seq": "SEQ_2_SEQ_LM"}
READERS: Mapping[str, tuple[str, Callable[[Adapter, LM], Part]]] = {  # the part's name, and what makes it
    "PROMPT_TUNING": ("soft", vectors_in),
    "P_TUNING": ("soft", vectors_in),
    "PREFIX_TUNING": ("prefix", prefix_in),
    "LORA": ("lora", lora_in),
}


def export(prompt: Prompt | Ensemble, lm: LM, folder: str | Path) -> Path:
    """Write a prompt's one part as a PEFT adapter; an adapter that is there is replaced.

    Args:
        prompt: one part: vectors that lead the template, a prefix that shifts positions or whose model's are rotary,
            or LoRA.
        lm: the model it was learned on.
        folder: where to.

    Returns:
        The folder.

    Raises:
        ArtifactError: PEFT can't express the prompt, and why; or the folder can't be written.
    """
    if isinstance(prompt, Ensemble):
        raise ArtifactError(
            f"PEFT can't express an ensemble: an adapter is one, and here {len(prompt.prompts)} answer",
            hint="export each of its prompts on its own",
        )
    prompt.check(lm)
    adapter = _adapter(prompt, lm)
    lora = adapter.config["peft_type"] == "LORA"
    adapter.config.update(
        task_type=None if lora and lm.kind == "masked" else TASKS[lm.kind], base_model_name_or_path=lm.name,
        inference_mode=True, modules_to_save=None, revision=None, auto_mapping=None,
    )  # fmt: skip

    def fill(fresh: Path) -> None:
        for name, data in adapter_files(adapter).items():
            write(fresh / name, data)
        save(replace(prompt, parts={}), fresh / SIDE)

    replace_folder(Path(folder), fill, ours=(CONFIG, TENSORS, SIDE))
    return Path(folder)


def read(folder: str | Path, lm: LM, *, template: str | None = None, words: Any = None) -> Prompt:
    """The prompt of a PEFT adapter.

    Args:
        folder: with `adapter_config.json` and `adapter_model.safetensors`.
        lm: the model it was made for.
        template: the text around it; where not given, that of the exported prompt, else `{text}{mask}`.
        words: label -> words; where not given, those of the exported prompt, else each example brings its choices.

    Raises:
        ArtifactError: an adapter that can't be read, of another kind, or for another model.
    """
    folder = settle(Path(folder))
    adapter = read_adapter(folder)
    kind = adapter.config["peft_type"]
    if kind not in READERS:
        raise ArtifactError(f"a PEFT adapter of the type `{kind}` can't be taken over", hint=near(kind, READERS))
    name, reader = READERS[kind]
    part = reader(adapter, lm)
    around = _around(folder, template, words)
    leads = part.site == "inputs"
    name = next(iter(around.template.parts), name) if leads else name
    prompt = around.lead(**{name: part}) if leads else around.plus(**{name: part})
    prompt.check(lm)
    said = {key: adapter.config.get(key) for key in ("peft_type", "task_type", "base_model_name_or_path")}
    step = Step(method="import_peft", settings=said, lm=model(lm), task="", figures={})
    return replace(prompt, history=(*prompt.history, step))


def _around(folder: Path, template: str | None, words: Any) -> Prompt:
    """What stands around the part."""
    if not (folder / SIDE / PROMPT).is_file():
        return make(template or TEMPLATE, words)
    found = load(folder / SIDE)
    if isinstance(found, Ensemble) or found.parts:
        raise ArtifactError(f"`{folder / SIDE}` isn't what was exported there", hint="export the prompt again")
    if template is None and words is None:
        return found
    fresh = make(template or found.template, words if words is not None else found.words)
    return replace(fresh, view=found.view if words is None else fresh.view)


def _adapter(prompt: Prompt, lm: LM) -> Adapter:
    """The prompt's one part."""
    if not prompt.parts:
        raise ArtifactError("nothing was learned for this prompt, so that there is nothing PEFT could load")
    if len(prompt.parts) > 1:
        names = ", ".join(f"`{name}` ({part.kind})" for name, part in prompt.parts.items())
        raise ArtifactError(
            f"PEFT can't express this prompt: an adapter is one thing that was learned, and there are {names}",
            hint="fit a prompt that learns one of them",
        )
    ((name, part),) = prompt.parts.items()
    if isinstance(part, LoRA):
        return lora_out(part, lm)
    _one_segment(prompt, lm)
    if part.site == "inputs":
        return vectors_out(_leading(prompt, name, cast(InputsPart, part), lm), _soft_kind(prompt.history))
    if isinstance(part, Prefix):
        return prefix_out(part, lm)
    raise ArtifactError(
        f"PEFT can't express this prompt: it has no adapter like the part `{name}` ({part.kind})",
        hint="vectors that lead the template, prefixes and LoRA can be exported",
    )


def _one_segment(prompt: Prompt, lm: LM) -> None:
    """Refuse a text of two segments: PEFT doesn't tell the model of the second."""
    if MarkPiece("sep") not in prompt.template.pieces:
        return
    (row,) = lm.encode([(MarkRun("sep"), TextRun("a"))], {})
    if any(row.types):
        raise ArtifactError(
            f"PEFT can't express this prompt: `{prompt.template}` has a second segment behind {{sep}}, and with a soft "
            "prompt PEFT has all text in the first",
            hint="fit with a template without {sep}, or learn LoRA",
        )


def _leading(prompt: Prompt, name: str, part: InputsPart, lm: LM) -> torch.Tensor:
    """The vectors, if they stand where PEFT puts them: in front of everything, once."""
    pieces = prompt.template.pieces
    if part.ids is not None:
        raise ArtifactError(
            f"PEFT can't express this prompt: its part `{name}` is real tokens", hint="write their text in your inputs"
        )
    if pieces[:1] != (PartPiece(name),) or pieces.count(PartPiece(name)) > 1:
        raise ArtifactError(
            f"PEFT can't express this prompt: its vectors stand inside the text, `{prompt.template}`, "
            "and PEFT puts them in front of it",
            hint=f"fit with a template that begins with {{@{name}}}",
        )
    with torch.no_grad():
        vectors = part.vectors(lm, [])
    if vectors.dim() != 2 or not len(vectors):
        raise ArtifactError(f"PEFT can't express this prompt: `{name}` has no vectors that are the same for every row")
    return vectors.detach().float().cpu()


def _soft_kind(history: Sequence[Step]) -> str:
    return "P_TUNING" if any(step.method == "p_tuning" for step in history) else "PROMPT_TUNING"
