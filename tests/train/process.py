"""A fit in a process of its own, for tests that kill it or run it several times at once.

python -m tests.train.process <result> [--folder <run folder>] [--die step:<n> | write:<n>] [--cancel <rank>]
"""

import argparse
import os
import signal
from pathlib import Path

import torch
from safetensors.torch import save_file
from tests.train import small
from tests.train.parts import Gated

from promptatlas.artifact import folder as folders
from promptatlas.prompting import Prompt
from promptatlas.train.loop import Term, tune
from promptatlas.train.loss import nll
from promptatlas.train.optim import Optim
from promptatlas.train.run import Cancelled, Event, Run

WRITE = folders.write


def main() -> None:
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser()
    parser.add_argument("result", type=Path)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--die", default="never:0")
    parser.add_argument("--cancel", type=int)
    told = parser.parse_args()
    when, _, count = told.die.partition(":")
    writes = iter(range(int(count)))

    def write(path: Path, data: bytes) -> None:
        """Write half of the file and die, at the given write."""
        dies = when == "write" and next(writes, None) is None
        WRITE(path, data[: len(data) // 2] if dies else data)
        if dies:
            os.kill(os.getpid(), signal.SIGKILL)

    def heard(event: Event) -> None:
        if when == "step" and event.done == int(count):
            os.kill(os.getpid(), signal.SIGKILL)

    folders.write = write
    rank = int(os.environ.get("RANK", "0"))
    try:
        tuned = fit(Run(told.folder, steps=2, listen=heard, cancelled=lambda: rank == told.cancel))
    except Cancelled as stopped:
        told.result.write_text(stopped.message)
        return
    save_file({name: small.weight(tuned, name) for name in tuned.parts}, told.result)


def fit(run: Run) -> Prompt:
    noisy = Gated(small.lm().vectors[3:5], price=0.1)
    noisy.drop.p = 0.0 if "RANK" in os.environ or "PLAIN" in os.environ else 0.3  # processes draw their own dropout
    prompt = small.prompt().lead(gate=noisy)
    terms = [
        Term(small.examples(11), nll, batch=5),
        Term(small.examples(7), nll, 0.5, 4, whole=True),
        Term(small.examples(), nll, 0.1, 1),
    ]
    optim = {"soft": Optim(lr=0.02, weight_decay=0.1), "gate": Optim(kind="sgd", lr=0.1, momentum=0.9)}
    dev = small.examples(5)
    return tune(prompt, small.lm(), terms, optim=optim, steps=9, seed=3, dev=dev, keep="best", every=3, run=run)


if __name__ == "__main__":
    main()
