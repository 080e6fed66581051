"""A tokenizer, as `lm/` uses it: stretches of text in batches with offsets, words in place, its own marks."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Any

from promptatlas.errors import LoadError
from promptatlas.text.runs import Before


@dataclass(frozen=True)
class Stretch:
    """Text between two things that aren't text; `start` is true where it is tokenised as the beginning of a text."""

    text: str
    start: bool


@dataclass(frozen=True)
class Pieces:
    """Tokens of a stretch: ids, and the character each one starts at (the blank before a word is no part of it)."""

    ids: tuple[int, ...]
    at: tuple[int, ...]


class Tokenizer:
    """Over a fast tokenizer. Text never turns into marks: a `[MASK]` in the data is tokenised as the letters it is."""

    def __init__(self, backend: Any, *, causal: bool) -> None:
        """Find the marks by looking at what the tokenizer itself puts around a text and between two."""
        if not getattr(backend, "is_fast", False):
            raise LoadError(
                "this model has no fast tokenizer", hint="convert it with transformers' AutoTokenizer and save it"
            )
        self.backend = backend
        plain = self._plain("a")
        around = list(backend("a")["input_ids"])
        at = _find(around, plain)
        self.start: tuple[int, ...] = tuple(around[:at])
        # a causal model goes on writing where the text ends, so nothing may close it
        self.end: tuple[int, ...] = () if causal else tuple(around[at + len(plain) :])
        self.sep = self._between(plain)
        self.mask: int | None = backend.mask_token_id

    def _plain(self, text: str) -> list[int]:
        return list(self.backend(text, add_special_tokens=False)["input_ids"])

    def _between(self, plain: list[int]) -> tuple[int, ...]:
        pair = list(self.backend("a", "a")["input_ids"])
        first = _find(pair, plain)
        after = first + len(plain)
        between = pair[after : after + _find(pair[after:], plain)]
        fallback = next((i for i in (self.backend.sep_token_id, self.backend.eos_token_id) if i is not None), None)
        return tuple(between) or ((fallback,) if fallback is not None else ())

    @cached_property
    def special(self) -> frozenset[int]:
        """Ids of the tokenizer's own marks, those without a role (sentinels, reserved ones) too."""
        added = self.backend.added_tokens_decoder.items()
        return frozenset(self.backend.all_special_ids) | {i for i, token in added if token.special}

    @cached_property
    def marks(self) -> frozenset[int]:
        """Those that no text may turn into: all but the unknown token."""
        return self.special - {self.backend.unk_token_id}

    @cached_property
    def filler(self) -> int:
        """The id that stands where vectors go and where a text has no token: any ordinary id but the padding's."""
        return next(i for i in range(len(self.backend)) if i != self.pad and i not in self.special)

    @property
    def pad(self) -> int:
        """The padding id; 0 where the tokenizer has none (padding is masked away in any case)."""
        return int(self.backend.pad_token_id) if self.backend.pad_token_id is not None else 0

    @property
    def opening(self) -> tuple[int, ...]:
        """What a causal text starts with when it has nothing at all: its start mark, or else its end-of-text."""
        ids = (self.backend.bos_token_id, self.backend.eos_token_id)
        return self.start or tuple(i for i in ids if i is not None)[:1] or (self.filler,)

    @cached_property
    def hash(self) -> str:
        """Identity of the tokenizer."""
        return hashlib.sha256(self.backend.backend_tokenizer.to_str().encode()).hexdigest()[:16]

    def sentinel(self) -> int | None:
        """The first sentinel of a span-corruption model, if it has one."""
        found = self.backend.convert_tokens_to_ids("<extra_id_0>")
        return None if found is None or found == self.backend.unk_token_id else int(found)

    def stretches(self, wanted: Sequence[Stretch]) -> dict[Stretch, Pieces]:
        """Tokens of each distinct stretch, all in one call of the tokenizer."""
        distinct = [one for one in dict.fromkeys(wanted) if one.text]
        if not distinct:
            return {one: Pieces((), ()) for one in wanted}
        anchors = ["" if one.start else _anchor(one.text) for one in distinct]
        out = self.backend(
            [anchor + one.text for anchor, one in zip(anchors, distinct, strict=True)],
            add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True,
            verbose=False,
        )  # fmt: skip
        found = {
            one: _without_anchor(one.text, ids, offsets, len(anchor))
            for one, anchor, ids, offsets in zip(
                distinct, anchors, out["input_ids"], out["offset_mapping"], strict=True
            )
        }
        glued = [one for one, pieces in found.items() if pieces is None]
        if glued:  # the anchor merged with the text: such a stretch can only be tokenised as a text of its own
            alone = self.stretches([Stretch(one.text, start=True) for one in glued])
            found |= {one: alone[Stretch(one.text, start=True)] for one in glued}
        done = {one: self._without_marks(one, pieces) for one, pieces in found.items() if pieces is not None}
        return {one: done.get(one) or Pieces((), ()) for one in wanted}

    def _without_marks(self, one: Stretch, pieces: Pieces) -> Pieces:
        """The same, or broken up where the vocabulary itself holds a mark that the text spells (T5's has `</s>`)."""
        breaks = [at + 1 for i, at in zip(pieces.ids, pieces.at, strict=True) if i in self.marks]
        if not breaks or breaks[0] >= len(one.text):
            return pieces
        edges = [0, *(at for at in breaks if at < len(one.text)), len(one.text)]
        some = [Stretch(one.text[a:b], one.start and a == 0) for a, b in pairwise(edges)]
        found = self.stretches(some)
        ids = tuple(i for stretch in some for i in found[stretch].ids)
        ats = tuple(edge + at for edge, stretch in zip(edges, some, strict=False) for at in found[stretch].at)
        return Pieces(ids, ats)

    @lru_cache(maxsize=65_536)  # noqa: B019 - a tokenizer lives as long as its model
    def word(self, word: str, before: Before) -> tuple[int, ...]:
        """The tokens of a word in place: after the template's own text, its blanks belonging to the word."""
        left = before.text.rstrip(" ")
        stretch = Stretch(before.text[len(left) :] + word, start=before.start and not left)
        if not left or stretch.start:
            return self.stretches([stretch])[stretch].ids
        alone, whole = Stretch(left, start=before.start), Stretch(left + stretch.text, start=before.start)
        found = self.stretches([alone, whole, stretch])
        known = len(found[alone].ids)
        # a word that merges with what stands before it can't follow it in a row: there it is tokenised as going on
        return found[whole].ids[known:] if found[whole].ids[:known] == found[alone].ids else found[stretch].ids

    def tokens(self, text: str) -> tuple[int, ...]:
        """The tokens of a text on its own, without marks."""
        stretch = Stretch(text, start=True)
        return self.stretches([stretch])[stretch].ids

    def text(self, ids: Sequence[int]) -> str:
        """The text of tokens, marks left out."""
        return str(self.backend.decode(list(ids), skip_special_tokens=True))

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """The tokenizer's own spelling of each token."""
        return [str(one) for one in self.backend.convert_ids_to_tokens(list(ids))]


def _anchor(text: str) -> str:
    """Something that text can follow without merging with it, so that it is tokenised as going on, not as starting."""
    return "." if text[0].isalnum() else "a"


def _find(where: list[int], what: list[int]) -> int:
    """Index at which `what` begins in `where`."""
    return next(i for i in range(len(where) - len(what) + 1) if where[i : i + len(what)] == what)


def _without_anchor(text: str, ids: list[int], offsets: list[tuple[int, int]], length: int) -> Pieces | None:
    """The pieces of `text` after an anchor `length` long; None where one piece holds the anchor's end and more."""
    if any(start < length < end for start, end in offsets):
        return None
    kept = [
        (i, _after_blanks(text, start - length, end - length))
        for i, (start, end) in zip(ids, offsets, strict=True)
        if end > length
    ]
    return Pieces(tuple(i for i, _ in kept), tuple(at for _, at in kept))


def _after_blanks(text: str, start: int, end: int) -> int:
    """Where in [start, end) something other than blanks begins; `start` where nothing does."""
    piece = text[start:end]
    return start + len(piece) - len(piece.lstrip(" ")) if piece.strip(" ") else start
