"""What the pocket language models know: plain text, label words, few labels, demonstrations, facts.

    python benchmarks/pocket.py --data DIR --models [NAME=]DIR ... [--chinese [NAME=]DIR ...] [--only zero,facts]

DIR, or the variable PROMPTATLAS_DATA, holds a folder a data set, as for foundation.py (a folder that holds these as
`data` will do too); the corpora are looked for beside it. A model is a folder that `promptatlas.load` reads; which
parts are measured depends on its kind, and --chinese ones have data sets of their own. Every cell is a line of JSON in
the results file, kept by the model's name, the hash of its weights and all settings; what is there is not measured
again. A Markdown table of all that is there is written next to it.
"""

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from pathlib import Path

from pocketry import facts, labels, losses, texts
from pocketry.cells import PARTS, Figures, Kept, Store, Work, missing, write
from pocketry.table import NOTE, entries, markdown
from rich.console import Console

from promptatlas.bench import Cell
from promptatlas.data.task import Task
from promptatlas.errors import PromptAtlasError
from promptatlas.lm.load import load
from promptatlas.lm.local import LocalLM

HERE = Path(__file__).parent
WORDS, READ, SHORT = 2000, 20_000_000, 128  # masked words at least; bytes of a corpus for the unigram; short windows
DEMO_TASKS, DEMO_TEST = ("sst2", "ag_news"), 500  # 8 demonstrations make long rows: fewer test examples


@dataclass(frozen=True)
class Model:
    """A model that takes part: `name` is the folder's, or the one given, with the beginning of the weights' hash."""

    name: str
    lm: LocalLM
    chinese: bool

    @classmethod
    def load(cls, given: str, *, chinese: bool) -> "Model":
        """From [NAME=]DIR."""
        name, _, folder = given.rpartition("=")
        lm = load(folder, "cpu")
        return cls(f"{name or Path(folder).resolve().name} {lm.identity['weights'][:8]}", lm, chinese)

    @property
    def group(self) -> str:
        """What it may be compared with."""
        return f"{self.lm.kind}, Chinese" if self.chinese else self.lm.kind


@dataclass(frozen=True)
class Bench:
    """Where everything is, and how much of it is measured."""

    data: Path
    corpora: Path
    facts: Path
    test: int
    seeds: int
    words: int
    tuned: tuple[str, ...]

    def works(self, part: str, model: Model) -> list[Work]:
        """The cells of a part for a model."""
        if part not in self.parts(model):
            return []
        return list(getattr(self, f"_{part}")(model))

    def parts(self, model: Model) -> tuple[str, ...]:
        """Those that make sense for a model."""
        left_out = {"wikitext", "facts", "demos"} if model.chinese else set()
        left_out |= set() if model.lm.kind == "causal" else {"demos"}
        return tuple(one for one in PARTS if one not in left_out)

    def absent(self, part: str) -> Iterator[str]:
        """What a part needs and isn't there."""
        needs = {"wikitext": [self.wikitext], "facts": [self.facts]}
        needs |= {one: [self.data / name for name in labels.PATTERNS] for one in ("zero", "tuned")}
        needs["demos"] = [self.data / name for name in DEMO_TASKS]
        yield from (str(path) for path in needs[part] if not path.exists())

    @property
    def wikitext(self) -> Path:
        """The test text."""
        return self.corpora / "wikitext2_test.txt"

    @cached_property
    def corpus(self) -> texts.Corpus:
        """Counts for the unigram."""
        return texts.Corpus(tuple(sorted(self.corpora.glob("en_*.txt.xz"))), READ)

    @cached_property
    def paragraphs(self) -> list[str]:
        """Of the test text."""
        return texts.paragraphs(self.wikitext.read_text("utf-8"))

    @cached_property
    def passages(self) -> list[texts.Passage]:
        """With the words that are asked for."""
        return texts.passages(self.paragraphs, self.words, 0)

    def _wikitext(self, model: Model) -> Iterator[Work]:
        if not self.wikitext.is_file():
            return
        lm = model.lm
        told = _digest(self.paragraphs if lm.kind == "causal" else self.passages)
        if lm.kind == "causal":
            for most in (None, SHORT):
                name = f"bits per byte, windows of {min(most or lm.window, lm.window)}"
                yield _work("wikitext", "wikitext-2", name, self._bytes(lm, most), READ, told, lm.window, most)
            return
        name = "loss per masked word" if lm.kind == "masked" else "span loss per word"
        yield _work("wikitext", "wikitext-2", name, self._per_word(lm), READ, told)

    def _per_word(self, lm: LocalLM) -> Callable[[], Figures]:
        return lambda: losses.per_word(lm, self.passages, self.corpus.loss(lm))

    def _bytes(self, lm: LocalLM, most: int | None) -> Callable[[], Figures]:
        return lambda: losses.per_byte(lm, "\n".join(self.paragraphs), self.corpus.loss(lm), most)

    def _zero(self, model: Model) -> Iterator[Work]:
        for task, patterns in self._tasks(model):
            for template in patterns.of(model.lm.kind):
                measure = partial(self._ask, labels.zero, model.lm, task, template)
                yield _work("zero", task, f"zero-shot, {template}", measure, self.test, dict(patterns.words))

    def _tuned(self, model: Model) -> Iterator[Work]:
        settings = (labels.RATES, labels.STEPS, labels.BATCH, labels.FOLDS, labels.SHOTS)
        for task, patterns in self._tasks(model):
            template = patterns.of(model.lm.kind)[0]
            if task not in self.tuned and not model.chinese:
                continue
            for seed in range(self.seeds):
                measure = partial(self._ask, labels.tuned, model.lm, task, template, seed=seed)
                how = (self.test, dict(patterns.words), *settings)
                yield _work("tuned", task, f"tuned, {template}", measure, *how, seed=seed)

    def _demos(self, model: Model) -> Iterator[Work]:
        most = min(self.test, DEMO_TEST)
        for task, patterns in self._tasks(model):
            if task not in DEMO_TASKS:
                continue
            template = patterns.of(model.lm.kind)[0]
            for k, seed in [(0, 0), *((labels.DEMOS, seed) for seed in range(self.seeds))]:
                measure = partial(self._ask, labels.demos, model.lm, task, template, k=k, seed=seed, most=most)
                how = (self.test, most, dict(patterns.words), labels.SHOTS)
                yield _work("demos", task, f"{k} demonstrations, {template}", measure, *how, seed=seed)

    def _facts(self, model: Model) -> Iterator[Work]:
        if not self.facts.is_file():
            return
        found = facts.relations(self.facts)
        for name, some in [*((one.name, [one]) for one in found), ("all relations", found)]:
            yield _work("facts", name, "P@1", partial(facts.figures, model.lm, some), _digest(some))

    def _tasks(self, model: Model) -> list[tuple[str, labels.Patterns]]:
        some = labels.CHINESE if model.chinese else labels.ENGLISH
        return [(name, one) for name, one in some.items() if (self.data / name).is_dir()]

    def _ask(self, measure: Callable[..., Figures], lm: LocalLM, task: str, template: str, **more: int) -> Figures:
        return measure(lm, _read(self.data / task, self.test), template, labels.PATTERNS[task].words, **more)


def _digest(values: object) -> str:
    """Of what these print as."""
    return hashlib.sha256(repr(values).encode()).hexdigest()[:16]


@lru_cache(maxsize=8)
def _read(folder: Path, most: int) -> Task:
    return labels.read(folder, most)


def _work(part: str, task: str, method: str, measure: Callable[[], Figures], *how: object, seed: int = 0) -> Work:
    return Work(part, task, method, seed, json.dumps(how, ensure_ascii=False), measure)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what is missing, print every figure of these models, and write the table; the exit code."""
    given = _arguments(argv)
    errors = Console(stderr=True)
    folder = given.data or os.environ.get("PROMPTATLAS_DATA")
    if not folder or not Path(folder).is_dir():
        errors.print(f"skipped: no data sets at {folder}" if folder else "skipped: say where the data sets are, --data")
        return 0
    bench = _bench(given, Path(folder))
    models = [Model.load(one, chinese=False) for one in given.models]
    models += [Model.load(one, chinese=True) for one in given.chinese]
    store = Store.open(given.out)
    for part in given.only:
        for path in bench.absent(part):
            errors.print(f"skipped in {part}: no {path}")
        for model in models:
            _measure(bench, part, model, store, errors)
    names = {one.name for one in models}
    found = entries(store.cells.values())
    for entry in found:
        if entry.lm in names and entry.part in given.only:
            Console().print(str(entry), markup=False, highlight=False, soft_wrap=True)
    write(given.out.with_suffix(".md"), markdown(found, _note()))
    return 0


def _measure(bench: Bench, part: str, model: Model, store: Store, errors: Console) -> None:
    """Every missing cell of a part, kept at once; one that can't be measured is named, and not kept."""
    for work in missing(store, model.name, bench.works(part, model)):
        what = f"{model.name} · {work.task} · {work.method} · {work.seed}"
        try:
            figures = work.measure()
        except PromptAtlasError as error:
            errors.print(f"skipped: {what}: {error}", markup=False)
            continue
        cell = Cell(method=work.method, task=work.task, lm=model.name, seed=work.seed, figures=figures)
        store.add(Kept(work.part, model.group, work.how, cell))
        errors.print(f"{what}: {figures['value']:.3f}", markup=False, highlight=False, soft_wrap=True)


def _bench(given: argparse.Namespace, folder: Path) -> Bench:
    data = folder / "data" if (folder / "data").is_dir() else folder
    corpora = given.corpora or data.resolve().parent / "corpora"
    return Bench(data, corpora, given.facts, given.test, given.seeds, given.words, tuple(given.tuned))


def _note() -> str:
    rates = ", ".join(f"{one:g}" for one in labels.RATES)
    return NOTE.format(
        steps=labels.STEPS, batch=labels.BATCH, rates=rates, folds=labels.FOLDS, demos=labels.DEMOS
    )  # fmt: skip


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--data", type=Path, help="folder of data sets; PROMPTATLAS_DATA where not given")
    parser.add_argument("--corpora", type=Path, help="folder of corpora; the one beside the data where not given")
    parser.add_argument("--facts", type=Path, default=HERE.parent / "recipes" / "facts.toml")
    parser.add_argument("--models", nargs="+", default=[], metavar="[NAME=]DIR")
    parser.add_argument("--chinese", nargs="+", default=[], metavar="[NAME=]DIR", help="models of Chinese")
    parser.add_argument("--only", type=_parts, default=list(PARTS), metavar="PART,...", help=", ".join(PARTS))
    parser.add_argument("--test", type=int, default=1500, help="test examples a data set at most")
    parser.add_argument("--seeds", type=int, default=5, help="draws of the training examples")
    parser.add_argument("--words", type=int, default=WORDS, help="words of wikitext asked for at least")
    parser.add_argument("--tuned", nargs="+", default=["sst2", "ag_news"], choices=labels.ENGLISH)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "pocket.json")
    return parser.parse_args(argv)


def _parts(text: str) -> list[str]:
    some = text.split(",")
    if odd := [one for one in some if one not in PARTS]:
        raise argparse.ArgumentTypeError(f"no part {odd[0]!r}: there are {', '.join(PARTS)}")
    return some


if __name__ == "__main__":
    try:
        sys.exit(main())
    except PromptAtlasError as error:
        sys.exit(str(error))
