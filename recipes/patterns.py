"""Write documents that each show one pattern several times, for a small language model to learn from context.

    python recipes/patterns.py --out patterns.txt.xz --words 4000000 --seed 0

Words, grammar and layouts are in lists.toml, facts in facts.toml; a seed gives the same text again. A document's items
are pairs of a text and its label, or a text alone; none is a pair that facts.toml holds back, and no label is one that
lists.toml bans. A blank line stands between documents.
"""

import argparse
import io
import lzma
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from kinds import KINDS
from layouts import lay_out
from lists import Item, Lists

SHARES = {"sentences": 0.35, "words": 0.25, "facts": 0.20, "copies": 0.20}  # of all words
TRIES = 100  # documents drawn in a row that show too little, before it is an error


@dataclass(frozen=True)
class Document:
    """One document: what kind it is, the items it shows, and its text."""

    kind: str
    items: tuple[Item, ...]
    text: str


def document(kind: str, lists: Lists, rng: random.Random) -> Document:
    """Draw one document of a kind, with at least three items."""
    for _ in range(TRIES):
        drawn = KINDS[kind](lists, rng)
        items = tuple(item for item in drawn.items if not lists.tells_held(item))
        if len(items) >= 3:
            return Document(kind, items, lay_out(drawn.layout, items, lists, rng))
    raise RuntimeError(f"{TRIES} documents of kind {kind} had fewer than three items: its lists are too short")


def documents(words: int, seed: int) -> Iterator[Document]:
    """Draw documents until they hold this many words; the kind that is furthest behind its share comes next."""
    rng, lists = random.Random(seed), Lists.read()
    counts = dict.fromkeys(SHARES, 0)
    while sum(counts.values()) < words:
        kind = min(SHARES, key=lambda name: counts[name] / SHARES[name])
        found = document(kind, lists, rng)
        counts[kind] += len(found.text.split())
        yield found


def open_as(path: Path, name: str) -> TextIO:
    """Open a file for text: as xz where the name it will have ends so."""
    if name.endswith(".xz"):
        return io.TextIOWrapper(lzma.open(path, "wb", preset=3), encoding="utf-8", newline="\n")
    return path.open("w", encoding="utf-8", newline="\n")


def write(path: Path, words: int, seed: int) -> None:
    """Write the documents beside the path, then rename: a file of this name is always whole."""
    beside = path.with_name(path.name + ".part")
    with open_as(beside, path.name) as file:
        for number, found in enumerate(documents(words, seed)):
            file.write(("\n" if number else "") + found.text + "\n")
    beside.replace(path)


def at_least_one(text: str) -> int:
    """Read a count from the command line."""
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, not {count}")
    return count


def main(arguments: list[str] | None = None) -> None:
    """Read the command line and write the file."""
    parser = argparse.ArgumentParser(description="Write documents that each show one pattern several times.")
    parser.add_argument("--out", type=Path, required=True, help="the file to write; xz if it ends in .xz")
    parser.add_argument("--words", type=at_least_one, default=4_000_000, help="how many words, at least")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same text")
    given = parser.parse_args(arguments)
    write(given.out, given.words, given.seed)


if __name__ == "__main__":
    main()
