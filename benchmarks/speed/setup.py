"""Where things are and how much is measured; made once from the command line, and handed to fresh processes as JSON."""

import sys
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.speed.models import SHAPES, Shape
from benchmarks.speed.texts import Lengths

TINY = {"bert-base": "tiny-bert", "gpt2-small": "tiny-gpt2", "t5-small": "tiny-t5"}


@dataclass(frozen=True)
class Setup:
    """Settings of a measurement.

    Attributes:
        cache: a folder for models and the peers' environments.
        data: a folder of data sets; "" for the lengths kept with the benchmark.
        batches: logical batches of 16 whose operations are counted.
        pairs: interleaved runs that are timed.
        questions: few-shot questions whose operations are counted.
        timed: few-shot questions of a run that is timed.
        shots: demonstrations.
        most: the largest number of rows of a growth curve.
        tiny: tiny models instead, for tests.
    """

    cache: str
    data: str = ""
    batches: int = 8
    pairs: int = 5
    questions: int = 64
    timed: int = 16
    shots: int = 16
    most: int = 100_000
    tiny: bool = False

    @property
    def root(self) -> Path:
        """The cache as a path."""
        return Path(self.cache)

    def shape(self, name: str) -> Shape:
        """The sizes of a model."""
        return SHAPES[TINY[name] if self.tiny else name]

    def lengths(self) -> Lengths:
        """Of the texts."""
        return Lengths.found(Path(self.data) if self.data else None)

    def find_peers(self) -> None:
        """Let this process import the peers that can live beside us, after everything of our own."""
        for site in sorted((self.root / "peers").glob("lib/python*/site-packages")):
            if str(site) not in sys.path:
                sys.path.append(str(site))

    def openprompt(self) -> Path:
        """The interpreter of OpenPrompt's own environment; it may not be there."""
        return self.root / "openprompt" / "bin" / "python"

    def to_json(self) -> dict[str, Any]:
        """For another process."""
        return asdict(self)


def versions(*names: str) -> str:
    """Names and versions of packages, for people."""
    return ", ".join(f"{name} {_version(name)}" for name in names)


def _version(name: str) -> str:
    try:
        return version(name).partition("+")[0]
    except PackageNotFoundError:
        return "absent"
