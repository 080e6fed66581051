"""What is told of a model that was trained: its log, the picture of its losses, its card, the command."""

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from matplotlib.figure import Figure

from promptatlas.cli.print import Bar
from promptatlas.data.corpus import Corpus
from promptatlas.train.recipe import Recipe
from promptatlas.train.run import Event

ABOUT = {
    "masked": "It fills blanks. `AutoModelForMaskedLM` loads it anywhere",
    "causal": "It goes on writing. `AutoModelForCausalLM` loads it anywhere",
    "seq2seq": "It reads one text and writes another. `AutoModelForSeq2SeqLM` loads it anywhere",
}
Log = Sequence[Mapping[str, Any]]


def listener(file: TextIO, steps: int, bar: Bar) -> Callable[[Event], None]:
    """Shows progress, and writes every 50th step into the log; of a short training, more of them."""
    often = max(1, min(50, steps // 20))

    def listen(event: Event) -> None:
        bar.listen(event)
        if event.what == "dev" or event.done % often == 0 or event.done == steps:
            figures = {name: value for name, value in event.figures.items() if name != "dev_accuracy"}
            file.write(json.dumps({"what": event.what, "step": event.done, **figures}) + "\n")
            file.flush()

    return listen


def read_log(path: Path) -> Log:
    """The log, a line a step: what was done twice, before and after a kill, counts once."""
    found: dict[tuple[str, int], Mapping[str, Any]] = {}
    for line in path.read_text("utf-8").splitlines():
        try:
            one = json.loads(line)
        except ValueError:  # it was being written when the process was killed
            continue
        found[one["what"], one["step"]] = one
    return sorted(found.values(), key=lambda one: int(one["step"]))


def command(settings: Mapping[str, Any], out: str) -> str:
    """The command line again, with files by name alone."""
    words = ["promptatlas", "pretrain", *(Path(one).name for one in settings["corpora"])]
    for name, value in settings.items():
        if name == "corpora" or (not value and name != "held"):
            continue
        for one in value if isinstance(value, tuple) else (value,):
            words += [f"--{name.removesuffix('s') if name == 'objectives' else name}"]
            words += [Path(one).name or one if isinstance(one, str) else str(one)]
    return shlex.join([*words, "--out", out])


def card(
    name: str, recipe: Recipe, corpora: Sequence[Corpus], report: Mapping[str, Any], command: str, kind: str,
    begun: str | None,
) -> str:  # fmt: skip
    """Markdown: architecture, text, training, losses, the command.

    Args:
        name: of the model.
        recipe: as it was trained.
        corpora: what it read.
        report: figures by name.
        command: that made it.
        kind: of model.
        begun: the model it was before; None where it began with random weights.
    """
    text = [f"| `{one.path.name}` | {one.path.stat().st_size:,} | {one.weight:g} |" for one in corpora]
    taught = [f"- {_sentence(one.__dict__)}" for one in recipe.objectives]
    rows = [f"| {what.replace('_', ' ')} | {_shown(value)} |" for what, value in report.items()]
    made = f"Architecture: {_sentence(recipe.model)}." if begun is None else f"It was `{begun}` before."
    first = "trained from raw text" if begun is None else "trained on raw text"
    optim = recipe.optim
    moved = f"{recipe.batch} windows a step, rate up to {optim.lr:g}, rising for {optim.warmup or 0:.0%} of the steps"
    return "\n\n".join(
        [
            f"# {name}",
            f"A {kind} language model, {first}. {ABOUT[kind]}; with promptatlas: `load(DIR)`.",
            made,
            "## Made of",
            "\n".join(["| text | bytes of the file | weight |", "| --- | ---: | ---: |", *text]),
            "## Trained by",
            "\n".join([*taught, f"- {moved}, weight decay {optim.weight_decay:g}"]),
            "\n".join(["| figure | value |", "| --- | ---: |", *rows]),
            "Losses are in nats a token that is asked about; over the steps they stand in `log.jsonl` and `loss.png`.",
            "## The command",
            f"    {command}\n",
        ]
    )


def _sentence(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} = {value}" for key, value in settings.items())


def _shown(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}" if isinstance(value, float) else str(value)


def picture(log: Log, path: Path) -> None:
    """Losses over steps, of the training text and of what was held out."""
    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    styles: Mapping[str, Mapping[str, Any]] = {
        "tune": {"label": "training", "lw": 0.6, "alpha": 0.5},
        "dev": {"label": "held out", "marker": ".", "lw": 1.2},
    }
    for what, key in (("tune", "loss"), ("dev", "dev_loss")):
        points = [(one["step"], one[key]) for one in log if one["what"] == what]
        if points:
            axes.plot(*zip(*points, strict=True), **styles[what])
    axes.set(xlabel="step", ylabel="nats a token asked about")
    axes.legend()
    figure.savefig(path, dpi=120)
