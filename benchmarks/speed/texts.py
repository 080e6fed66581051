"""Texts as long as those of SST-2 and AG News, half and half, of made-up words; drawn by seed."""

import json
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from promptatlas.data.example import Example

PIECE = re.compile(r"\w+|[^\w\s]")
SETS = {"sst2": ("text",), "ag_news": ("title", "text")}
MOST = 118  # words of a text: with template and marks it stays below the 128 positions that OpenPrompt is given
KEPT = Path(__file__).with_name("lengths.json")  # data set -> length -> how many training texts have it


@dataclass(frozen=True)
class Lengths:
    """Lengths to draw from: of short texts and of longer ones."""

    short: tuple[int, ...]
    long: tuple[int, ...]

    @classmethod
    def found(cls, folder: Path | None) -> "Lengths":
        """Of the data sets in a folder; those kept here where there is no folder, or not these sets in it."""
        paths = {} if folder is None else {name: folder / name / "train.jsonl" for name in SETS}
        if paths and all(path.is_file() for path in paths.values()):
            return cls(*(tuple(sorted(_lengths(path, SETS[name]))) for name, path in paths.items()))
        kept = json.loads(KEPT.read_text("utf-8"))
        return cls(*(tuple(int(one) for one, many in kept[name].items() for _ in range(many)) for name in SETS))

    @property
    def digest(self) -> str:
        """Tells lengths from others."""
        return sha256(repr((sorted(self.short), sorted(self.long))).encode()).hexdigest()[:8]

    def draw(self, count: int, chance: random.Random) -> list[int]:
        """As many lengths, half of them short, in any order."""
        found = [chance.choice(self.short if at % 2 else self.long) for at in range(count)]
        chance.shuffle(found)
        return [max(1, min(one, MOST)) for one in found]


def _lengths(path: Path, fields: Sequence[str]) -> list[int]:
    rows = (json.loads(line) for line in path.read_text("utf-8").splitlines())
    return [len(PIECE.findall(" ".join(str(row[one]) for one in fields))) for row in rows]


def texts(lengths: Lengths, count: int, words: int, seed: int) -> list[str]:
    """Texts of the words w0, w1, … as the models of this benchmark know them, each one token.

    Args:
        lengths: to draw from.
        count: how many texts.
        words: how many words there are.
        seed: of the draw.
    """
    chance = random.Random(f"speed {seed}")
    return [" ".join(f"w{chance.randrange(words)}" for _ in range(one)) for one in lengths.draw(count, chance)]


def examples(some: Sequence[str], labels: Sequence[str], seed: int) -> list[Example]:
    """The texts with labels drawn by seed."""
    chance = random.Random(f"speed labels {seed}")
    return [Example({"text": one}, chance.choice(labels), f"{seed} {at}") for at, one in enumerate(some)]
