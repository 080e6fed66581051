"""What is shown of cells: a line a figure, and Markdown with a table a kind of model."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from pocketry.cells import PARTS, Kept

WHOLE = ("unknown pieces", "words with an unknown piece", "skipped, of several pieces")
HIDDEN = ("n", "pieces", "rate")
SAMPLES = {"wikitext": ("words", "bytes"), "facts": ("facts", "facts")}


@dataclass(frozen=True)
class Entry:
    """One figure of one model: `spread` is the deviation over seeds, or (one seed) the standard error, if known."""

    group: str
    lm: str
    part: str
    task: str
    name: str
    value: float
    spread: float
    seeds: int
    sample: str

    @property
    def text(self) -> str:
        """The figure with its spread."""
        if self.name.split(" · ")[-1] in WHOLE:
            return f"{self.value:.0f}"
        spread = "" if math.isnan(self.spread) else f" ± {self.spread:.3f}"
        return f"{self.value:.3f}{spread}"

    def __str__(self) -> str:
        """As a line."""
        return f"{self.lm} ({self.group}) · {self.task} · {self.name}: {self.text} · {self.sample}"


def entries(kept: Iterable[Kept]) -> list[Entry]:
    """Figures of cells, those of several seeds as one; by part, otherwise in the order measured."""
    grouped: dict[tuple[str, str, str, str, str], list[Kept]] = {}
    for one in kept:
        grouped.setdefault((one.part, one.group, one.cell.lm, one.cell.task, one.cell.method), []).append(one)
    ordered = sorted(grouped.values(), key=lambda some: PARTS.index(some[0].part))
    return [entry for some in ordered for entry in _entries(some)]


def _entries(some: Sequence[Kept]) -> Iterator[Entry]:
    one = some[0]
    for name in one.cell.figures:
        if name in HIDDEN or name.endswith(" se"):
            continue
        values = [float(each.cell.figures[name]) for each in some if name in each.cell.figures]
        error = one.cell.figures.get(f"{name} se", math.nan)
        spread = stdev(values) if len(values) > 1 else float(error)
        shown = _shown(one, name)
        yield Entry(
            one.group, one.cell.lm, one.part, one.cell.task, shown, fmean(values), spread, len(some), _sample(some)
        )


def _shown(one: Kept, name: str) -> str:
    """What a figure is called."""
    if name == "value":
        return one.cell.method
    return name if one.part == "facts" else f"{one.cell.method} · {name}"


def _sample(some: Sequence[Kept]) -> str:
    one = some[0]
    word, byte = SAMPLES.get(one.part, ("test examples", ""))
    noun = byte if one.part == "wikitext" and one.group.startswith("causal") else word
    counts = "/".join(str(n) for n in sorted({int(each.cell.figures.get("n", 0)) for each in some}))
    draws = f", {len(some)} draws" if len(some) > 1 else ""
    return f"{counts} {noun}{draws}"


NOTE = """\
Written by `python benchmarks/pocket.py`. After a mean over draws stands the deviation over them (±); after a figure of
one run its standard error over words, windows, examples or facts. A model's name is followed by the beginning of the
hash of its weights.

- **wikitext**: the test text of WikiText-2, lower case, its spacing undone, without headings and `<unk>`. Words: a
  seeded list, a tenth of the words of each passage of 80; nats a word, all its pieces masked, as are all other chosen
  words of the passage (a seq2seq model has one word hidden at a time, the rest of the passage in sight). Bytes: of the
  UTF-8 text, read in windows that overlap by half. The unigram is one over the model's own pieces, from add-one
  smoothed counts of the beginning (20 MB) of each English training corpus.
- **zero, tuned, demos**: accuracy; calibrated: by contextual calibration. Tuned is the first template, by pattern
  tuning of all weights on 16 examples a class, {steps} steps of {batch}; the rate is that of {rates} with the best
  accuracy over {folds} folds of these training examples. A draw's demonstrations are {demos}, balanced.
- **facts**: held-out pairs of our own list; the answer is the likeliest of the whole vocabulary (P@1), or among the ten
  likeliest (P@10). A masked model is asked only for answers that are one piece; in the other kinds each piece of an
  answer, after those before it, has to be.
"""


def markdown(found: Sequence[Entry], note: str) -> str:
    """The page: a table a group, a column a model; of each single relation no more than P@1."""
    parts = ["# Pocket language models", "", note.rstrip()]
    for group in dict.fromkeys(one.group for one in found):
        mine = [one for one in found if one.group == group and _in_table(one)]
        parts += ["", f"## {group}", "", *_table(mine)]
    return "\n".join(parts) + "\n"


def _in_table(one: Entry) -> bool:
    return one.part != "facts" or one.task == "all relations" or one.name == "P@1"


def _table(found: Sequence[Entry]) -> Iterator[str]:
    models = list(dict.fromkeys(one.lm for one in found))
    yield _line(["part", "on", "what", "sample", *models])
    yield _line(["---"] * 4 + ["---:"] * len(models))
    for key in dict.fromkeys((one.part, one.task, one.name) for one in found):
        mine = {one.lm: one for one in found if (one.part, one.task, one.name) == key}
        sample = " / ".join(dict.fromkeys(one.sample for one in mine.values()))
        yield _line([*key, sample, *(mine[name].text if name in mine else "-" for name in models)])


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(one.replace("|", "\\|") for one in cells) + " |"
