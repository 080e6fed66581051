"""The fast ways of reading, and which of them a model may take: found by trying each on a few tokens."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import torch

from promptatlas.lm.ask import Given, Job, Reading, Vocabulary
from promptatlas.lm.row import Row, Slot

if TYPE_CHECKING:
    from promptatlas.lm.local import LocalLM

CLOSE = {"float32": 1e-4, "float64": 1e-4}  # of probabilities; other types round coarsely, and a wrong way is far off
COARSE = 0.05
LENGTHS = (5, 9, 7)


@dataclass(frozen=True)
class Ways:
    """How jobs are read.

    Attributes:
        pack: lines lie behind each other without padding.
        branch: answers to one text branch from it.
        share: beginnings that lines have in common are run once.
    """

    pack: bool = False
    branch: bool = False
    share: bool = False


NAMES = tuple(one.name for one in fields(Ways))
ReadBy = Callable[["LocalLM", Sequence[Job], Ways], list[Reading]]


@dataclass(frozen=True)
class Found:
    """Which ways a model may take, and of the others why not."""

    ways: Ways
    why: Mapping[str, str]


def find(lm: "LocalLM", read_by: ReadBy) -> Found:
    """Try each way beside the plain one; `read_by` reads jobs by the ways it is given."""
    why: dict[str, str] = {}
    if lm.left:
        why = dict.fromkeys(NAMES, "it was asked to pad on the left")
    elif not lm.attention.layers:
        why = dict.fromkeys(NAMES, "its attention is not reached through the attention interface")
    if lm.kind == "masked":
        why.setdefault("branch", "a masked model's answers stand in the text")
    if lm.kind != "causal":
        why["share"] = "what it makes of a text's beginning depends on the rest"
    for name, jobs in (("pack", _ragged(lm)), ("branch", _branching(lm)), ("share", _beginning(lm))):
        needed = Ways(pack=True, branch=name == "branch", share=name == "share")
        if name not in why and (name == "pack" or "pack" not in why):
            reason = _tried(lm, jobs, needed, read_by)
            if reason:
                why[name] = reason
        elif "pack" in why:
            why.setdefault(name, why["pack"])
    return Found(Ways(**{name: name not in why for name in NAMES}), why)


def _tried(lm: "LocalLM", jobs: Sequence[Job], ways: Ways, read_by: ReadBy) -> str:
    """Why a way can't be taken; "" where it says the same."""
    with torch.no_grad():
        plain = read_by(lm, jobs, Ways())
        try:
            fast = read_by(lm, jobs, ways)
        except (TypeError, ValueError, RuntimeError, IndexError, KeyError) as error:
            return f"the model refuses it: {str(error).splitlines()[0][:80]}"
    off = max(_apart(a, b) for a, b in zip(plain, fast, strict=True))
    close = CLOSE.get(lm.dtype, COARSE)
    return "" if off <= close else f"it would change what the model says (by {off:.2g} of a probability)"


def _apart(a: Reading, b: Reading) -> float:
    return max(float((one.values.exp() - two.values.exp()).abs().max()) for one, two in zip(a, b, strict=True))


def _ids(lm: "LocalLM", count: int, first: int) -> tuple[int, ...]:
    plain = [i for i in range(len(lm.vectors)) if i not in lm.special][: max(16, count)]
    return tuple(plain[(first + 3 * i) % len(plain)] for i in range(count))


def _row(lm: "LocalLM", ids: tuple[int, ...]) -> Row:
    feed = (lm.layout.decoder_start,) if lm.kind == "seq2seq" else ()
    at = len(feed) - 1 if feed else len(ids) - 1
    return Row(ids, (0,) * len(ids), (Slot("mask", (at,)),), (), last=len(ids) - 1, feed=feed)


def _ragged(lm: "LocalLM") -> list[Job]:
    return [Job(_row(lm, _ids(lm, length, n)), (Vocabulary(),)) for n, length in enumerate(LENGTHS)]


def _branching(lm: "LocalLM") -> list[Job]:
    a, b, c, d = _ids(lm, 4, 1)
    answers = ((a, b, c), (a, b, d), (c, a), (d,))
    rows = [_row(lm, _ids(lm, length, n)) for n, length in enumerate(LENGTHS)]
    return [Job(row.then(answer), (Given(),)) for row in rows for answer in answers]


def _beginning(lm: "LocalLM") -> list[Job]:
    start = _ids(lm, 40, 2)
    return [Job(_row(lm, start + _ids(lm, length, n)), (Vocabulary(),)) for n, length in enumerate(LENGTHS)]


def reach(config: object) -> int:
    """How many tokens every layer's attention looks back at least."""
    text = getattr(config, "get_text_config", lambda: config)()
    kinds = getattr(text, "layer_types", None)
    if kinds is not None and not any("sliding" in kind or "chunked" in kind for kind in kinds):
        return 1 << 30
    names = ("sliding_window", "attention_chunk_size", "local_attention", "window_size")
    sizes = [getattr(text, name, None) for name in names]
    return min([size for size in sizes if isinstance(size, int) and size > 0], default=1 << 30)
