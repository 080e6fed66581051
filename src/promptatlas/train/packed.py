"""Documents as one long file of tokens, and windows of it as examples."""

import json
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import numpy as np

from promptatlas.artifact.folder import replace, settle
from promptatlas.data.corpus import chance
from promptatlas.data.example import Example
from promptatlas.errors import DataError
from promptatlas.lm.local import LocalLM
from promptatlas.lm.make import tokenised

ABOUT = "packed.json"


@dataclass(frozen=True)
class Window(Example):
    """Tokens in a row, without marks."""

    ids: tuple[int, ...] = field(default=())


class Windows(Sequence[Example]):
    """The windows of a token file, read when they are asked for; what is left at the end is dropped."""

    def __init__(self, file: Path, length: int) -> None:
        """Map the file; a window is `length` tokens."""
        self.file, self.length = file, length
        dtype = np.dtype(file.suffix[1:])
        self.ids = np.memmap(file, dtype, "r") if file.stat().st_size else np.zeros(0, dtype)

    def __len__(self) -> int:
        """How many windows there are."""
        return len(self.ids) // self.length

    def __getitem__(self, at: int) -> Window:  # type: ignore[override]
        """One window."""
        if not 0 <= at < len(self):
            raise IndexError(at)
        return Window(key=str(at), ids=tuple(self.ids[at * self.length : (at + 1) * self.length].tolist()))

    def key(self) -> str:
        """The same for the same tokens and length."""
        return f"{sha256(self.ids.tobytes()).hexdigest()} {self.length}"


@dataclass(frozen=True)
class Packed:
    """Token files of one corpus under one tokenizer.

    Attributes:
        train: what is learned from.
        held: what isn't.
        figures: documents, tokens, and documents left out.
    """

    train: Path
    held: Path
    figures: dict[str, int]


def packed(
    lm: LocalLM, documents: Iterable[str], folder: Path, *, key: str, held: float, without: Container[str] = ()
) -> Packed:
    """Token files in a folder; those that are there are read where their key is the same.

    Documents are separated by the tokenizer's separator or end mark. Which are held out, their text alone decides.

    Args:
        lm: gives the tokenizer.
        documents: texts.
        folder: where.
        key: of texts and settings.
        held: the share of documents held out.
        without: a container of texts; documents in it are left out.

    Raises:
        DataError: there are no documents.
    """
    folder = settle(folder)
    key = sha256(f"{key} {held} {lm.identity['tokenizer']}".encode()).hexdigest()
    dtype = "uint16" if len(lm.vectors) <= 1 << 16 else "uint32"
    about = json.loads((folder / ABOUT).read_bytes()) if (folder / ABOUT).is_file() else {}
    if about.get("key") != key or not (folder / f"train.{dtype}").is_file():
        figures = {"documents": 0, "tokens": 0, "held_tokens": 0, "left_out": 0}

        def fill(fresh: Path) -> None:
            _write(lm, documents, fresh, dtype, held, without, figures)
            (fresh / ABOUT).write_text(json.dumps({"key": key, "figures": figures}))

        replace(folder, fill)
        about = {"figures": figures}
    if not about["figures"]["tokens"]:
        raise DataError("there is no text to learn from", hint="documents are separated by blank lines")
    return Packed(folder / f"train.{dtype}", folder / f"held.{dtype}", about["figures"])


def _write(
    lm: LocalLM, documents: Iterable[str], folder: Path, dtype: str, held: float, without: Container[str],
    figures: dict[str, int],
) -> None:  # fmt: skip
    """Tokenise in bulk, and append to the two files."""
    ends = np.array(lm.tokenizer.sep, dtype=dtype)
    aside: list[bool] = []

    def wanted() -> Iterator[str]:
        for text in documents:
            if text in without:
                figures["left_out"] += 1
                continue
            aside.append(chance(text, "held") < held)
            yield text

    with (folder / f"train.{dtype}").open("wb") as train, (folder / f"held.{dtype}").open("wb") as other:
        for at, ids in enumerate(tokenised(lm, wanted())):
            kept = np.concatenate([ids.astype(dtype), ends])
            (other if aside[at] else train).write(kept.tobytes())
            figures["documents"] += 1
            figures["held_tokens" if aside[at] else "tokens"] += len(kept)
