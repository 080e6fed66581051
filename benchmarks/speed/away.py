"""Work in another process: a party with an environment of its own, and the peak memory of a fresh process."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from benchmarks.speed.cells import Skipped

ROOT = Path(__file__).parents[2]


class There:
    """A party in another process, which takes its turn when told to."""

    def __init__(self, words: Sequence[str]) -> None:
        """Start it. Raises Skipped where it doesn't come up."""
        # a pipe that nobody reads would stop it
        self.errors = TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 - it lives as long as this does
        self.process = subprocess.Popen(
            words, cwd=ROOT, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
            text=True,
        )  # fmt: skip
        self.hello: Mapping[str, Any] = self._answer()

    def operations(self, batch: int) -> dict[str, int]:
        """As it counted them."""
        return dict(self._ask(f"operations {batch}"))

    def seconds(self, batch: int) -> float:
        """As it measured them."""
        return float(self._ask(f"seconds {batch}"))

    def peak(self) -> int:
        """Bytes, as it measured them."""
        return int(self._ask("peak"))

    def close(self) -> None:
        """Let it end."""
        if self.process.stdin is not None and self.process.poll() is None:
            self.process.stdin.close()
            self.process.wait(60)

    def _ask(self, line: str) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("ANSWER "):
                return json.loads(line.removeprefix("ANSWER "))
        self.process.wait()
        self.errors.seek(0)
        raise Skipped(f"its process ended: {last(self.errors.read())}")


def environment() -> dict[str, str]:
    """One thread, and this repository's root in sight."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    quiet = {"PYTHONWARNINGS": "ignore", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    return {**os.environ, **quiet, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}


def fresh(told: Mapping[str, Any]) -> Any:
    """What `fresh.py` answers in a process of its own. Raises Skipped where it fails."""
    words = [sys.executable, "-m", "benchmarks.speed.fresh"]
    done = subprocess.run(
        words, cwd=ROOT, env=environment(), input=json.dumps(told), capture_output=True, text=True, check=False
    )
    for line in done.stdout.splitlines():
        if line.startswith("ANSWER "):
            return json.loads(line.removeprefix("ANSWER "))
    raise Skipped(f"its process ended: {last(done.stderr)}")


def last(text: str) -> str:
    """The last line that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"
