"""The peers' environments, below the cache and apart from the project's: made by pip, from the package index.

`peers` sees the project's own packages, so that a peer runs on the same torch and transformers; `openprompt` is alone,
since it needs a transformers of 2023. torch is pinned everywhere: a looser pin may fetch gigabytes.
"""

import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from promptatlas.errors import DataError

TORCH = "torch==2.13.0"
BESIDE = ("peft==0.21.2", "lm-eval==0.4.13")
ALONE = (TORCH, "transformers==4.30.2", "numpy<2", "pyarrow<17", "datasets<3")
MORE = ("yacs", "dill", "nltk", "rouge==1.0.0", "sentencepiece", "tensorboardX", "scikit-learn", "tqdm")
OPENPROMPT = "openprompt==1.0.1"  # its own pins are older than any wheel for this Python


def make(cache: Path, constraints: Path) -> None:
    """Make both, or bring them up to date.

    Args:
        cache: where.
        constraints: the project's pins.

    Raises:
        DataError: a command failed.
    """
    beside, alone = cache / "peers", cache / "openprompt"
    for place in (beside, alone):
        _run([sys.executable, "-m", "venv", str(place)])
    (site,) = (beside / "lib").glob("python*/site-packages")
    (site / "project.pth").write_text(sysconfig.get_paths()["purelib"] + "\n", "utf-8")
    _pip(beside, ["-c", str(constraints), TORCH, *BESIDE])
    _pip(alone, [*ALONE, *MORE])
    _pip(alone, ["--no-deps", OPENPROMPT])


def _pip(place: Path, words: Sequence[str]) -> None:
    _run([str(place / "bin" / "python"), "-m", "pip", "install", "--quiet", *words])


def _run(words: Sequence[str]) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise DataError(f"`{' '.join(words[1:4])} …` failed: {said[-1] if said else done.returncode}")
