"""Peak memory of one side, in this process alone: told by JSON on stdin, answers by a line."""

import json
import sys

import torch
from benchmarks.speed import training


def main() -> None:
    """Measure and answer."""
    torch.set_num_threads(1)
    sys.stdout.write(f"ANSWER {json.dumps(training.alone(json.load(sys.stdin)))}\n")


if __name__ == "__main__":
    main()
