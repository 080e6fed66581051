"""Losses on plain text: of a masked word, of a span, and bits per byte; each beside a unigram model over the pieces.

All goes through `LM.read`. Only causal windows are rows made here, since they are cut between tokens, and
`encode` takes text.
"""

import math
from collections.abc import Iterator, Sequence
from statistics import fmean, stdev

import numpy as np
import torch
from numpy.typing import NDArray

from pocketry.cells import Figures
from pocketry.texts import Passage
from promptatlas.lm.ask import Given, Job, Places
from promptatlas.lm.lm import LM
from promptatlas.lm.row import Row
from promptatlas.text.runs import Before, Run, SlotRun, TextRun

Ids = tuple[int, ...]


def in_place(lm: LM, passage: Passage) -> list[Ids]:
    """The pieces of each chosen word where it stands."""
    found = []
    for start, end in passage.spans:
        left = passage.text[max(0, start - 24) : start]
        found.append(lm.word(passage.text[start:end], Before(left, start=not start)))
    return found


def word_losses(lm: LM, passages: Sequence[Passage]) -> list[float]:
    """Nats for each chosen word, the sum over its pieces, all of which (and all chosen words') are masked at once."""
    jobs = [_masked(lm, one) for one in passages]
    with torch.no_grad():
        read = [reading[0].values[0].tolist() for reading in lm.stream(jobs)]
    return [loss for one, values in zip(passages, read, strict=True) for loss in _sums(in_place(lm, one), values)]


def _sums(words: Sequence[Ids], values: Sequence[float]) -> Iterator[float]:
    at = 0
    for ids in words:
        yield -sum(values[at : at + len(ids)])
        at += len(ids)


def _masked(lm: LM, passage: Passage) -> Job:
    """A passage with as many masks for each chosen word as it has pieces."""
    words = in_place(lm, passage)
    widths = {str(i): len(ids) for i, ids in enumerate(words)}
    (row,) = lm.encode([tuple(_runs(passage.text, passage.spans))], {}, widths=widths)
    positions = tuple(at for slot in row.slots for at in slot.positions)
    return Job(row, (Places(positions, tuple(i for ids in words for i in ids)),))


def span_losses(lm: LM, passages: Sequence[Passage]) -> list[float]:
    """Nats for each chosen word written by a decoder at its place, one word a passage hidden at a time."""
    jobs = []
    for passage in passages:
        rows = lm.encode([tuple(_runs(passage.text, [span])) for span in passage.spans], {})
        words = in_place(lm, passage)
        jobs += [Job(row.then(ids), (Given(),)) for row, ids in zip(rows, words, strict=True)]
    with torch.no_grad():
        return [-float(reading[0].values.sum()) for reading in lm.stream(jobs)]


def _runs(text: str, spans: Sequence[tuple[int, int]]) -> Iterator[Run]:
    """The text with a slot in the place of each span, never cut."""
    at = 0
    for i, (start, end) in enumerate(spans):
        yield TextRun(text[at:start], "text", keep=True)
        yield SlotRun(str(i))
        at = end
    yield TextRun(text[at:], "text", keep=True)


def per_word(lm: LM, passages: Sequence[Passage], unigram: NDArray[np.float64]) -> Figures:
    """Mean loss of a chosen word, and the unigram's; words with a piece the tokenizer doesn't know are counted."""
    losses = word_losses(lm, passages) if lm.kind == "masked" else span_losses(lm, passages)
    words = [ids for one in passages for ids in in_place(lm, one)]
    plain = [float(unigram[list(ids)].sum()) for ids in words]
    return {
        **mean("value", losses),
        **mean("unigram over its pieces", plain),
        "n": len(losses),
        "words with an unknown piece": sum(any(i in lm.special for i in ids) for ids in words),
        "pieces a word": sum(map(len, words)) / len(words),
    }


def mean(name: str, values: Sequence[float]) -> dict[str, float]:
    """A mean and its standard error."""
    error = stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return {name: fmean(values), f"{name} se": error}


def windows(count: int, size: int) -> Iterator[tuple[int, int, int]]:
    """Where each window starts, where what is new to it starts, and where it ends: the next starts half a window on."""
    start, new, end = 0, 0, min(size, count)
    yield start, new, end
    while end < count:
        start, new = start + size // 2, end
        end = min(start + size, count)
        yield start, new, end


def per_byte(lm: LM, text: str, unigram: NDArray[np.float64], most: int | None = None) -> Figures:
    """Bits per byte of a text, read in windows of the model's length (or `most`), each after half a window.

    The text's very first token is not counted where the model has no start mark. The error is that of a ratio over
    windows.
    """
    ids, front = lm.tokens(text), _front(lm)
    size = min(most or lm.window, lm.window) - len(front)
    places = list(windows(len(ids), size))
    with torch.no_grad():
        read = lm.stream(_window(ids, front, *one) for one in places)
        losses = [-float(reading[0].values.sum()) for reading in read]
    scale = len(text.encode()) * math.log(2)
    rate = sum(losses) / len(ids)
    off = math.sqrt(sum((loss - rate * (end - new)) ** 2 for loss, (_, new, end) in zip(losses, places, strict=True)))
    return {
        "value": sum(losses) / scale,
        "value se": off / scale,
        "unigram over its pieces": float(unigram[list(ids)].sum()) / scale,
        "n": len(text.encode()),
        "unknown pieces": sum(i in lm.special for i in ids),
        "pieces": len(ids),
    }


def _front(lm: LM) -> Ids:
    """The marks the tokenizer puts before a text."""
    (row,) = lm.encode([(TextRun("a"),)], {})
    return tuple(i for span in row.spans if span.name == "start" for i in row.ids[span.start : span.end])


def _window(ids: Ids, front: Ids, start: int, new: int, end: int) -> Job:
    """A window, asked for its new tokens, each where the token before it stands."""
    row = front + ids[start:end]
    asked = range(max(new, start + 1 - len(front)), end)
    positions = tuple(len(front) + at - start - 1 for at in asked)
    made = Row(row, (0,) * len(row), (), (), last=len(row) - 1)
    return Job(made, (Places(positions, tuple(ids[at] for at in asked)),))
