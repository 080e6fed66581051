"""Templates straight to rows, and models without our doors to compare with."""

from collections.abc import Mapping
from typing import Any

import torch

from promptatlas.lm.local import LocalLM
from promptatlas.lm.row import Row
from promptatlas.lm.site import Part
from promptatlas.testing.tiny import FAMILIES, tiny
from promptatlas.text.template import Template


def row(
    lm: LocalLM,
    template: str,
    parts: Mapping[str, Part] | None = None,
    *,
    width: int = 1,
    room: int = 0,
    **fields: object,
) -> Row:
    parsed = Template.parse(template)
    widths = dict.fromkeys(parsed.slots, width)
    return lm.encode([parsed.render(fields)], parts or {}, widths=widths, room=room)[0]


def span(one: Row, name: str) -> tuple[int, int]:
    (found,) = [span for span in one.spans if span.name == name]
    return found.start, found.end


def bare(name: str) -> Any:
    """The tiny model of a family as transformers runs it: its own attention, no hooks, the same weights."""
    lm = tiny(name)
    _, tokenizer, make = FAMILIES[name]
    backend = tokenizer()
    model = make(len(backend), backend).eval().requires_grad_(False)
    if model._supports_sdpa:
        model.set_attn_implementation("eager")
    weights = lm.model.state_dict()
    if "final_logits_bias" in weights:
        weights["final_logits_bias"] = model.final_logits_bias
    model.load_state_dict(weights)
    return model


def plain(model: Any, kind: str, one: Row, **more: Any) -> Any:
    """What such a model says of a row and its answer."""
    ids = [*one.ids, *(one.answer if kind == "causal" else ())]
    inputs: dict[str, Any] = {"input_ids": torch.tensor([ids])}
    if any(one.types):
        inputs["token_type_ids"] = torch.tensor([one.types])
    if kind == "seq2seq":
        inputs["decoder_input_ids"] = torch.tensor([[*one.feed, *one.answer]])
    with torch.no_grad():
        return model(**inputs, **more)
