"""What contextual calibration does to a prompt's bias and accuracy, with and without demonstrations.

    python benchmarks/calibration.py --data DIR [--lm NAME_OR_FOLDER]

Bias is half the distance between the shares of labels that are predicted and those there are (0: the right shares;
higher: one label is preferred). Measured on 300 undrawn training examples; DIR, or PROMPTATLAS_DATA, holds sst2 and
ag_news; the embedded tasks are measured in any case.
"""

import argparse
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from promptatlas import registry
from promptatlas.data.example import Example
from promptatlas.data.read import read_task
from promptatlas.data.task import Task
from promptatlas.lm.load import load
from promptatlas.lm.local import LocalLM
from promptatlas.prompting import Prompt
from promptatlas.prompting.make import prompt

SHOTS, MOST, SEEDS = 16, 300, (0, 1, 2)
SENTIMENT = {"negative": "terrible", "positive": "great"}
TOPICS = {one: one for one in ("world", "sports", "business", "science")}
NEWS = {"World": "world", "Sports": "sports", "Business": "business", "Sci/Tech": "technology"}
TASKS = {
    "reviews": ("{text} It was {mask}", SENTIMENT),
    "headlines": ("{text} Topic: {mask}", TOPICS),
    "sst2": ("{text} It was {mask}", SENTIMENT),
    "ag_news": ("{title} {text} Topic: {mask}", NEWS),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print a table; the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("PROMPTATLAS_DATA"))
    parser.add_argument("--lm", default="pocket-masked")
    given = parser.parse_args(argv)
    lm = load(given.lm, "cpu")
    table = Table(title=f"Contextual calibration on {Path(given.lm).name} ({lm.kind})", box=None)
    for heading in ("task", "demonstrations", "accuracy", "calibrated", "bias", "calibrated"):
        table.add_column(heading, justify="left" if heading == "task" else "right")
    for name, (template, words) in TASKS.items():
        folder = Path(given.data or "") / name
        if name in ("sst2", "ag_news") and not (given.data and folder.is_dir()):
            Console(stderr=True).print(f"skipped: no {name} in {given.data or '--data'}")
            continue
        task = read_task(folder if folder.is_dir() and given.data else name)
        for k in (0, 4):
            table.add_row(name, str(k), *_row(lm, task, prompt(template, words), k))
    Console().print(table)
    return 0


def _row(lm: LocalLM, task: Task, start: Prompt, k: int) -> list[str]:
    """Mean over draws: accuracy before and after, bias before and after."""
    draws = []
    for seed in SEEDS if k else SEEDS[:1]:
        few = task.few(SHOTS, seed)
        keys = {one.key for one in few.train}
        rest = [one for one in task.train if one.key not in keys][:MOST]
        shown = registry.method("in_context", k=k, seed=seed).fit(lm, few, start) if k else start
        calibrated = registry.method("contextual_calibration").fit(lm, few, shown)
        (accuracy, bias), (after, left) = (_measured(lm, one, rest) for one in (shown, calibrated))
        draws.append((accuracy, after, bias, left))
    return [f"{sum(column) / len(draws):.3f}" for column in zip(*draws, strict=True)]


def _measured(lm: LocalLM, learned: Prompt, examples: Sequence[Example]) -> tuple[float, float]:
    with torch.no_grad():
        answers = [one.value for one in learned.predict(lm, examples)]
    said, right = Counter(answers), Counter(one.target for one in examples)
    accuracy = sum(answer == one.target for answer, one in zip(answers, examples, strict=True)) / len(examples)
    return accuracy, sum(abs(said[label] - right[label]) for label in learned.labels) / 2 / len(examples)


if __name__ == "__main__":
    sys.exit(main())
