"""Raw text: documents of plain, gzip and xz files, separated by blank lines, read as streams."""

import gzip
import json
import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from io import TextIOWrapper
from pathlib import Path
from typing import Any, cast

import numpy as np

from promptatlas.errors import DataError, SettingError
from promptatlas.text.scripts import WORD

LONGEST = 1 << 20  # characters after which a document is cut at the next line, so that memory stays bounded
GRAM = 13  # words that two texts must share in a row to count as the same text (Brown et al. 2020, app. C)


@dataclass(frozen=True)
class Corpus:
    """A file of documents.

    Attributes:
        path: text in UTF-8; `.xz` and `.gz` are read as they are.
        weight: how often its documents are taken; 0.5 takes half of them, the same half every time.
    """

    path: Path
    weight: float = 1.0

    @classmethod
    def parse(cls, text: str) -> "Corpus":
        """`FILE` or `FILE=WEIGHT`. Raises SettingError for a weight that is no number above 0."""
        name, sign, weight = text.rpartition("=")
        if not sign or Path(text).exists():
            return cls(Path(text))
        try:
            found = cls(Path(name), float(weight))
        except ValueError:
            found = cls(Path(name), 0.0)
        if not 0 < found.weight < float("inf"):
            raise SettingError(f"`{text}` gives the weight `{weight}`", hint="FILE=2 takes every document twice")
        return found

    def documents(self) -> Iterator[str]:
        """Each document as often as the weight says."""
        whole, rest = divmod(self.weight, 1.0)
        for text in documents(self.path):
            for _ in range(int(whole) + (chance(text, "weight") < rest)):
                yield text


def documents(path: Path) -> Iterator[str]:
    """The documents of a file, without surrounding blanks. Memory is bounded by the longest, and that by `LONGEST`.

    Raises:
        DataError: there is no such file, it is not whole, or it is not UTF-8; says where.
    """
    lines: list[str] = []
    size = 0
    try:
        with _open(path) as file:
            for line in file:
                if line.strip():
                    lines.append(line)
                    size += len(line)
                if lines and (not line.strip() or size > LONGEST):
                    yield "".join(lines).strip()
                    lines, size = [], 0
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        why = getattr(error, "strerror", None) or error
        raise DataError(f"`{path}` can't be read: {why}", hint="plain text, .xz or .gz, in UTF-8") from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"`{path}` is not UTF-8 in line {_broken(path)}: {error.reason}", hint="convert it: `iconv -t utf-8`"
        ) from error
    if lines:
        yield "".join(lines).strip()


def _open(path: Path) -> TextIOWrapper:
    openers: dict[str, Callable[..., Any]] = {".xz": lzma.open, ".gz": gzip.open}
    opener = openers.get(path.suffix, open)
    return cast(TextIOWrapper, opener(path, "rt", encoding="utf-8"))


def _broken(path: Path) -> int:
    """The first line that is not UTF-8: a stream decodes many lines at once, and can't say."""
    with _open(path) as file:
        file.reconfigure(errors="surrogateescape")
        return next(at for at, line in enumerate(file, 1) if any("\ud800" <= one <= "\udfff" for one in line))


def below(path: Path) -> list[Path]:
    """The file itself, or every .jsonl and .txt file in a folder, in order."""
    return sorted(one for one in path.rglob("*") if one.suffix in (".jsonl", ".txt")) if path.is_dir() else [path]


def chance(text: str, what: str) -> float:
    """A number from 0 to 1 that the text alone fixes, another for every `what`."""
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8, person=what.encode()[:16]).digest()
    return int.from_bytes(digest, "big") / 2**64


class Known:
    """Texts that must stay out of training: those one measures on.

    A document counts as one of them where it shares `GRAM` words in a row with any; texts of fewer words are looked
    for nowhere.
    """

    def __init__(self, files: Iterable[Path]) -> None:
        """JSON Lines (every string in them counts) and texts of any other ending; read when first asked."""
        self.files = tuple(files)

    @cached_property
    def grams(self) -> np.ndarray:
        """Hashes of all runs of `GRAM` words in them, sorted: 8 bytes each."""
        texts = (text for path in self.files for text in (_strings if path.suffix == ".jsonl" else documents)(path))
        return np.unique(np.concatenate([np.zeros(0, np.int64), *map(_grams, texts)]))

    def __contains__(self, text: object) -> bool:
        """Whether a document shares words with them."""
        mine = _grams(str(text)) if len(self.grams) else self.grams
        at = np.searchsorted(self.grams, mine).clip(max=len(self.grams) - 1)
        return bool((self.grams[at] == mine).any())


def _grams(text: str) -> np.ndarray:
    words = WORD.findall(text.lower())
    return np.fromiter((hash(tuple(words[at : at + GRAM])) for at in range(len(words) - GRAM + 1)), np.int64)


def _strings(path: Path) -> Iterator[str]:
    for line in "\n".join(documents(path)).splitlines():
        try:
            yield from _within(json.loads(line))
        except ValueError:  # one broken line of a data set keeps nothing else in
            yield line


def _within(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _within(one)
    elif isinstance(value, list):
        if value and all(isinstance(one, str) for one in value):
            yield " ".join(value)
        else:
            for one in value:
                yield from _within(one)
