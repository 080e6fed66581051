"""The test text of WikiText-2 as people would write it, a seeded list of its words, and counts of the training text."""

import lzma
import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from promptatlas.lm.lm import LM

LENGTH, SHARE = 80, 0.1  # words of a passage, and how many of them are asked for
WORD = re.compile(r"(?<![\w'@-])[^\W\d_]+(?![\w'@-])")
GLUED = (  # WikiText's spacing -> ours
    (re.compile(r" ?@([-,.])@ ?"), r"\1"),
    (re.compile(r"(?<=\d) : (?=\d)"), ":"),
    (re.compile(r" ([,.;:!?%)\]])"), r"\1"),
    (re.compile(r"([(\[$£€]) "), r"\1"),
    (re.compile(r" (n't|'(?:s|re|ve|ll|d|m|t)\b)"), r"\1"),
    (re.compile(r'" ([^"]*?) ?"'), r'"\1"'),
    (re.compile(r" {2,}"), " "),
)


@dataclass(frozen=True)
class Passage:
    """A stretch of text, and where in it the chosen words stand."""

    text: str
    spans: tuple[tuple[int, int], ...]

    @property
    def words(self) -> tuple[str, ...]:
        """The chosen words."""
        return tuple(self.text[start:end] for start, end in self.spans)


def paragraphs(raw: str) -> list[str]:
    """Paragraphs of a WikiText file: spacing undone, lower case, without headings; `<unk>` is left out."""
    lines = (line.strip() for line in raw.splitlines())
    return [found for line in lines if line and not line.startswith("=") and (found := plain(line))]


def plain(line: str) -> str:
    """One line with its spacing undone, in lower case."""
    line = " ".join(word for word in line.split() if word != "<unk>")
    for pattern, written in GLUED:
        line = pattern.sub(written, line)
    return line.strip().lower()


def passages(some: Sequence[str], words: int, seed: int) -> list[Passage]:
    """Passages, drawn by seed, with at least this many chosen words in all (as many as there are, if fewer).

    A passage is 80 words of a paragraph, or its rest of 40 and more. Chosen is a tenth of its words, among those that
    are letters alone.
    """
    pieces = [piece for one in some for piece in _pieces(one.split())]
    chance = random.Random(f"pocket {seed}")
    chance.shuffle(pieces)
    found: list[Passage] = []
    total = 0
    for piece in pieces:
        if total >= words:
            break
        passage = _chosen(piece, chance)
        total += len(passage.spans)
        found += [passage] if passage.spans else []
    return found


def _pieces(words: Sequence[str]) -> Iterator[str]:
    for at in range(0, len(words), LENGTH):
        if len(words) - at >= LENGTH // 2:
            yield " ".join(words[at : at + LENGTH])


def _chosen(text: str, chance: random.Random) -> Passage:
    there = [found.span() for found in WORD.finditer(text)]
    count = min(len(there), round(SHARE * len(text.split())))
    return Passage(text, tuple(sorted(chance.sample(there, count))))


@dataclass
class Corpus:
    """The beginning of each English training corpus, as counts of words, and of a model's pieces.

    Attributes:
        files: xz-compressed texts.
        most: bytes that are read of each.
    """

    files: tuple[Path, ...]
    most: int
    made: dict[str, NDArray[np.float64]] = field(default_factory=dict)

    @cached_property
    def words(self) -> Counter[str]:
        """How often each word (what stands between blanks, in lower case) occurs."""
        counts: Counter[str] = Counter()
        for path in self.files:
            with lzma.open(path) as file:
                counts.update(file.read(self.most).decode("utf-8", "ignore").lower().split())
        return counts

    def loss(self, lm: LM) -> NDArray[np.float64]:
        """-log p of each piece of the vocabulary, from add-one smoothed counts."""
        tokenizer = lm.identity["tokenizer"]
        if tokenizer not in self.made:
            counts = np.ones(len(lm.vectors))
            for ids, often in self._counted(lm):
                np.add.at(counts, list(ids), often)
            self.made[tokenizer] = np.log(counts.sum()) - np.log(counts)
        return self.made[tokenizer]

    def _counted(self, lm: LM) -> Iterator[tuple[tuple[int, ...], int]]:
        """Pieces of all distinct words, those that are as frequent together, each tokenised after another word."""
        groups: dict[int, list[str]] = {}
        for word, often in self.words.items():
            groups.setdefault(often, []).append(word)
        first = len(lm.tokens("a"))
        for often, some in groups.items():
            for at in range(0, len(some), 5000):
                yield lm.tokens(" ".join(["a", *some[at : at + 5000]]))[first:], often
