"""A language model's own objectives on raw text: masked, causal, span, prefix. Each is a loss of the one loop.

A window of tokens is cut into shorter rows for most of the training, so that a step always sees as many tokens, and
only its last part pays for long rows (Devlin et al. 2019, arXiv:1810.04805, app. A.2).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Literal, cast, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from promptatlas.data.view import One
from promptatlas.errors import NeedsError, SettingError, near
from promptatlas.lm.ask import Job, Places
from promptatlas.lm.lm import LM, Kind
from promptatlas.lm.local import LocalLM
from promptatlas.lm.row import Row
from promptatlas.parts.weights import Values, full
from promptatlas.prompting import Prompt
from promptatlas.prompting.make import prompt
from promptatlas.train.loop import Term, tune
from promptatlas.train.loss import ASKED, MASKED, SWAPPED, Batch
from promptatlas.train.optim import Optim
from promptatlas.train.packed import Window, Windows
from promptatlas.train.run import Run

Objective = Literal["masked", "causal", "span", "prefix"]
KINDS: Mapping[Objective, Kind] = {"masked": "masked", "causal": "causal", "span": "seq2seq", "prefix": "seq2seq"}
Ids = np.ndarray
COUNTED = 1 << 22  # tokens that are counted at most, evenly over the text
Asked = tuple[Row, tuple[int, ...], tuple[int, ...]]  # a row, positions to read, the tokens that are right there


@dataclass(frozen=True, kw_only=True)
class Pretrain:
    """Settings of one objective's training.

    Attributes:
        objective: "masked" (Devlin et al. 2019, sec. 3.1; whole words), "causal", "span" (Raffel et al. 2020,
            arXiv:1910.10683, sec. 3.1.4), "prefix" (the same, sec. 3.2.3: LM adaptation).
        length: tokens of a window, marks included: the longest row.
        short: tokens of a row for the first part of the steps; 0 is `length`.
        turn: the share of the steps with short rows.
        rate: the share of words hidden ("masked"), or of tokens ("span").
        common: words more frequent than this share of all tokens are hidden less, by the root of the ratio (Mikolov et
            al. 2013, arXiv:1310.4546, eq. 5); 1 hides all alike.
        span: mean length of a hidden span.
        bf16: compute in bfloat16 where that is exact enough (weights stay in float32).
        share: of the batch, where several objectives are trained together.
    """

    objective: Objective = "masked"
    length: int = 512
    short: int = 0
    turn: float = 0.8
    rate: float = ASKED
    common: float = 1.0
    span: float = 3.0
    bf16: bool = True
    share: float = 1.0

    def __post_init__(self) -> None:
        if self.objective not in get_args(Objective):
            raise SettingError(f"there is no objective `{self.objective}`", hint=near(self.objective, KINDS))
        if self.short and self.length % self.short:
            raise SettingError(f"`short` is {self.short}, `length` {self.length}", hint="one divides the other")
        if self.length < 16 or (self.short and self.short < 16):
            raise SettingError(f"rows of {self.short or self.length} tokens", hint="take 16 or more")
        _within("turn", self.turn, 0 <= self.turn <= 1, "from 0 to 1")
        _within("rate", self.rate, 0 < self.rate <= 0.9, "above 0, and 0.9 at most")
        _within("common", self.common, 0 < self.common <= 1, "above 0, and 1 at most")
        _within("span", self.span, self.span >= 1, "1 or more")
        _within("share", self.share, self.share > 0, "above 0")


def _within(name: str, value: float, holds: bool, what: str) -> None:
    if not holds:
        raise SettingError(f"`{name}` is {value}", hint=f"it is {what}")


@dataclass(frozen=True, eq=False)
class Teach:
    """An objective as a loss: minus the mean log-probability of what is asked about, a window each."""

    settings: Pretrain
    steps: int
    starts: Ids  # [vocab]: whether a token begins a word
    often: Ids  # [vocab]: what chances of being hidden are multiplied by

    def __call__(self, prompt: Prompt, lm: LM, batch: Batch) -> Float[Tensor, " examples"]:
        """Read every window's rows at once."""
        local = cast(LocalLM, lm)
        short = self.settings.short if batch.step < self.settings.turn * self.steps else 0
        jobs: list[Job] = []
        counts: list[int] = []
        for at, window in enumerate(batch.examples):
            draw = np.random.default_rng(int(torch.randint(1 << 62, (), generator=batch.own(at))))
            rows = np.array(cast(Window, window).ids).reshape(-1, self.body(local, short))
            asked = [ROWS[self.settings.objective](self, local, ids, draw) for ids in rows]
            jobs += [Job(row, (Places(where, right),), prompt.parts) for row, where, right in asked]
            counts.append(len(rows))
        with torch.autocast(lm.device.type, torch.bfloat16, enabled=self.settings.bf16):
            readings = lm.read(jobs)
        values = [reading[0].values[0] for reading in readings]
        ends = np.cumsum([0, *counts])
        return torch.stack([-torch.cat(values[a:b]).mean() for a, b in pairwise(ends)])

    def body(self, lm: LocalLM, short: int) -> int:
        """Tokens of a row that come from the text: all windows are cut the same."""
        rows = self.settings.length // (short or self.settings.length)
        return text_length(self.settings) // rows

    def key(self) -> str:
        """The same for the same settings."""
        return f"{asdict(self.settings)} {self.steps}"


def text_length(settings: Pretrain) -> int:
    """Tokens of the text in a window: room is left for two marks in each of its shortest rows."""
    short = settings.short or settings.length
    return (short - 2) * (settings.length // short)


def _masked(teach: Teach, lm: LocalLM, ids: Ids, draw: np.random.Generator) -> Asked:
    """Whole words are hidden: by the mask, by a random token, or not at all."""
    words = np.cumsum(teach.starts[ids]) - teach.starts[ids[0]]
    chances = draw.random(len(ids))[words] / teach.often[ids[np.searchsorted(words, words)]]
    chances[np.isin(ids, list(lm.special))] = np.inf
    # of few words perhaps none would be hidden: the likeliest one always is
    hidden = chances < max(teach.settings.rate, chances.min() + 1e-12)
    if not hidden.any():  # nothing but marks
        hidden[0] = True
    places = np.flatnonzero(hidden)
    fate = draw.random(len(ids))[words][places]
    seen = ids.copy()
    seen[places[fate < MASKED]] = lm.mask
    swapped = places[(fate >= MASKED) & (fate < MASKED + SWAPPED)]
    seen[swapped] = draw.integers(len(lm.vectors), size=len(swapped))
    front, back = lm.tokenizer.start, lm.tokenizer.end
    row = _row((*front, *seen.tolist(), *back))
    return row, tuple((places + len(front)).tolist()), tuple(ids[places].tolist())


def _causal(teach: Teach, lm: LocalLM, ids: Ids, draw: np.random.Generator) -> Asked:
    """Every token is asked about at the one before it."""
    front = lm.tokenizer.start
    known = ids if front else ids[1:]
    row = _row((*(front or ids[:1].tolist()), *known[:-1].tolist()))
    first = max(0, len(front) - 1)
    return row, tuple(range(first, first + len(known))), tuple(known.tolist())


def _span(teach: Teach, lm: LocalLM, ids: Ids, draw: np.random.Generator) -> Asked:
    """Spans are replaced by sentinels; the decoder writes each sentinel and what it stands for, and a last sentinel."""
    marks = sentinels(lm)
    noise = max(1, round(len(ids) * teach.settings.rate))
    spans = min(max(1, round(noise / teach.settings.span)), len(ids) - noise, len(marks) - 1)
    hidden, kept = _parts(noise, spans, draw), _parts(len(ids) - noise, spans, draw)
    seen: list[int] = []
    wanted: list[int] = []
    at = 0
    for mark, more, gone in zip(marks, kept, hidden, strict=False):
        seen += [*ids[at : at + more].tolist(), mark]
        wanted += [mark, *ids[at + more : at + more + gone].tolist()]
        at += more + gone
    wanted.append(marks[spans])
    return _written(lm, (*seen, *lm.tokenizer.end), tuple(wanted))


def _prefix(teach: Teach, lm: LocalLM, ids: Ids, draw: np.random.Generator) -> Asked:
    """The encoder reads the first half, the decoder writes the second."""
    half = len(ids) // 2
    return _written(lm, (*ids[:half].tolist(), *lm.tokenizer.end), tuple(ids[half:].tolist()))


def _written(lm: LocalLM, seen: Sequence[int], wanted: tuple[int, ...]) -> Asked:
    row = _row(tuple(seen), feed=(lm.layout.decoder_start, *wanted[:-1]))
    return row, tuple(range(len(wanted))), wanted


def _row(ids: tuple[int, ...], feed: tuple[int, ...] = ()) -> Row:
    return Row(ids, (0,) * len(ids), (), (), last=len(ids) - 1, feed=feed)


def _parts(total: int, parts: int, draw: np.random.Generator) -> list[int]:
    """A number as a sum of so many, each at least 1, all such sums alike likely."""
    cuts = np.sort(draw.choice(total - 1, parts - 1, replace=False) + 1)
    return [int(one) for one in np.diff([0, *cuts.tolist(), total])]


def sentinels(lm: LocalLM) -> list[int]:
    """Ids of a span-corruption model's sentinels, in order."""
    first = lm.tokenizer.sentinel()
    if first is None:
        raise NeedsError(f"the tokenizer of `{lm.name}` has no sentinels", hint="train it with the objective `prefix`")
    names = [f"<extra_id_{i}>" for i in range(100)]
    ids = lm.tokenizer.backend.convert_tokens_to_ids(names)
    return [int(i) for i in ids if i is not None and i != lm.tokenizer.backend.unk_token_id]


ROWS: Mapping[Objective, Callable[[Teach, LocalLM, Ids, np.random.Generator], Asked]] = {
    "masked": _masked,
    "causal": _causal,
    "span": _span,
    "prefix": _prefix,
}


def word_starts(lm: LocalLM) -> Ids:
    """Bool a token: whether it begins a word, as far as the tokenizer's spelling tells."""
    pieces = lm.pieces(range(len(lm.vectors)))
    if any(piece.startswith("##") for piece in pieces):
        return np.array([not piece.startswith("##") for piece in pieces])
    blanks = ("Ġ", "▁")
    if any(piece.startswith(blanks) for piece in pieces):
        return np.array([piece.startswith(blanks) or not piece[:1].isalnum() for piece in pieces])
    return np.ones(len(pieces), bool)


def pretrain(
    lm: LocalLM,
    windows: Sequence[Windows],
    objectives: Sequence[Pretrain],
    *,
    batch: int,
    steps: int,
    optim: Optim,
    seed: int,
    held: Sequence[Windows] = (),
    every: int = 500,
    run: Run | None = None,
) -> Values:
    """Train all of a language model's weights on raw text; the model given stays as it is.

    Args:
        lm: where training starts.
        windows: token files, one an objective, cut as long as `text_length` of its settings.
        objectives: what is trained, together in every step.
        batch: windows a step, divided over the objectives by their shares.
        steps: how many.
        optim: how weights are moved.
        seed: of the order, and of what is hidden.
        held: windows to measure on, of the first objective.
        every: steps between two measurements.
        run: keeps checkpoints, is told of progress, may stop training.

    Raises:
        NeedsError: an objective that this kind of model doesn't have.
        SettingError: rows longer than the model's window.
    """
    for one in objectives:
        if KINDS[one.objective] != lm.kind:
            good = ", ".join(name for name, kind in KINDS.items() if kind == lm.kind)
            raise NeedsError(f"`{lm.name}` is {lm.kind}; it has no objective `{one.objective}`", hint=f"take {good}")
        if one.length > lm.window:
            raise SettingError(f"rows of {one.length} tokens; `{lm.name}` reads {lm.window}", hint="lower `length`")
    starts = word_starts(lm)
    shares = sum(one.share for one in objectives)
    terms = [
        Term(
            some,
            Teach(one, steps, starts, _often(some, len(lm.vectors), one.common)),
            weight=one.share / shares,
            batch=max(1, round(batch * one.share / shares)),
        )
        for one, some in zip(objectives, windows, strict=True)
    ]
    start = prompt("{text}", view=One()).plus(weights=full(lm))
    trained = tune(
        start, lm, terms, optim=optim, steps=steps, seed=seed, dev=list(held[0]) if held else None, every=every,
        flat=None, run=run,
    )  # fmt: skip
    return cast(Values, trained.parts["weights"])


def _often(windows: Windows, vocabulary: int, common: float) -> Ids:
    """[vocab]: 1, or the root of `common` over a token's share of the text where that is larger."""
    step = 1 + len(windows.ids) // COUNTED
    counts = np.bincount(windows.ids[::step], minlength=vocabulary)
    share = counts / max(1, counts.sum())
    often: Ids = np.minimum(1.0, np.sqrt(common / np.maximum(share, 1e-12)))
    return often
