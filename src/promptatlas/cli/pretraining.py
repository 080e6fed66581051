"""The work of `promptatlas pretrain`. Imports torch.

All that is under way stands in a folder beside the one that will be written: the model it starts from, the tokens, the
checkpoint, the log. The same command given again finds it there.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, cast

import torch
import typer

from promptatlas.artifact.folder import check_ours, remove, settle
from promptatlas.artifact.folder import replace as replace_folder
from promptatlas.cli import print as show
from promptatlas.cli.card import Log, card, command, listener, picture, read_log
from promptatlas.cli.pretrain import ORDER, Order, begin, kept_in
from promptatlas.cli.print import Bar
from promptatlas.cli.unfinished import keep, run_folder
from promptatlas.cli.work import STOPPED, interruptible
from promptatlas.data.corpus import Corpus, Known, below, chance
from promptatlas.errors import DataError, NeedsError, PromptAtlasError, SettingError, near
from promptatlas.lm.lm import Kind
from promptatlas.lm.load import load
from promptatlas.lm.local import LocalLM
from promptatlas.lm.make import hasten, new, store, tokenizer
from promptatlas.train.packed import Packed, Windows, packed
from promptatlas.train.pretrain import KINDS, pretrain, text_length
from promptatlas.train.recipe import Recipe, read
from promptatlas.train.run import Cancelled, Run

TRAIN, LOG, PICTURE, CARD = "train", "log.jsonl", "loss.png", "README.md"
HELD = 64  # windows that are measured on, at most
SAMPLE = 60_000_000  # characters a tokenizer is learned from, where the recipe doesn't say
LITTLE = 1_000_000  # characters under which a text is small: a tokenizer is learned from all of it
CONFIG, WEIGHTS = "config.json", "model.safetensors"
OURS = (
    *(CARD, LOG, PICTURE, CONFIG, WEIGHTS, "generation_config.json"),
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"),
)


@dataclass(frozen=True)
class Job:
    """All that training needs.

    Attributes:
        order: the command.
        recipe: with the objectives that are trained.
        lm: where it starts.
        tokens: of the text.
        windows: of them, an objective each.
        held: windows to measure on: one file, or none.
        folder: where the work is kept.
    """

    order: Order
    recipe: Recipe
    lm: LocalLM
    tokens: Packed
    windows: Sequence[Windows]
    held: Sequence[Windows]
    folder: Path


def work(order: Order, out: Path, checkpoint: float, bar: Bar) -> dict[str, Any]:
    """Make or go on; the report. What can be wrong is looked at first, and a mistake leaves nothing behind."""
    bar.step("reading")
    check_ours(settle(out), OURS)
    corpora, files = _texts(order)
    recipe = _recipe(order)
    lm = None if order.lm is None else load(order.lm)
    kind = _kind(order, recipe, lm)
    folder = run_folder(out)
    fresh = begin(order, folder)
    try:
        job = _job(order, recipe, lm or _new(order, recipe, kind, corpora, folder, bar), corpora, files, folder, bar)
        bar.step("pretrain")
        steps = _steps(job)
        weights = _train(job, steps, checkpoint, bar)
    except Cancelled as stop:
        show.note(f"{stop.message}; it goes on when the same command is given again")
        raise typer.Exit(STOPPED) from stop
    except PromptAtlasError:
        if fresh and not (folder / TRAIN).exists():
            remove(folder)
        raise
    bar.step("saving")
    report = _save(job, corpora, steps, weights, settle(out))
    remove(folder)
    return {**report, "out": str(out)}


def _texts(order: Order) -> tuple[list[Corpus], list[Path]]:
    """What is learned from, and the files that are kept out of it."""
    corpora = [Corpus.parse(one) for one in order.corpora]
    for path in [*(one.path for one in corpora), *(Path(one) for one in order.without if not Path(one).is_dir())]:
        if not path.is_file():
            raise SettingError(f"there is no file `{path}`", hint="plain text, .xz or .gz")
    files: list[Path] = []
    for one in order.without:
        some = below(Path(one))
        if not some:
            raise SettingError(f"`{one}` holds no text to keep out", hint="a folder's .jsonl and .txt files are read")
        files += some
    return corpora, files


def _recipe(order: Order) -> Recipe:
    recipe = Recipe() if order.config is None else read(Path(order.config))
    objectives = recipe.objectives or order.objectives
    if order.lm is None and not (recipe.model and objectives and (recipe.tokenizer or order.tokenizer)):
        raise SettingError(
            "a new model needs `[model]`, `[tokenizer]` and `[[objective]]` in its recipe", hint="see recipes/"
        )
    return recipe if order.lr is None else replace(recipe, optim=replace(recipe.optim, lr=order.lr))


def _kind(order: Order, recipe: Recipe, lm: LocalLM | None) -> Kind:
    """Of the model, which has to have every objective that is asked for."""
    known = cast(Mapping[str, Kind], KINDS)
    names = order.objectives or [one.objective for one in recipe.objectives]
    for name in names:
        if name not in known:
            raise SettingError(f"there is no objective `{name}`", hint=near(name, known))
    kind = lm.kind if lm else recipe.kind if recipe.objectives else known[names[0]]
    for name in names:
        if known[name] != kind:
            good = ", ".join(one for one, its in known.items() if its == kind)
            raise NeedsError(f"a {kind} model has no objective `{name}`", hint=f"take {good}")
    return kind


def _new(order: Order, recipe: Recipe, kind: Kind, corpora: Sequence[Corpus], folder: Path, bar: Bar) -> LocalLM:
    """A model with random weights: made, or found where it was made before."""
    start = folder / "start"
    if not start.is_dir():
        bar.step("learning a tokenizer")
        if order.tokenizer is not None:
            backend = load(order.tokenizer).tokenizer.backend
        else:
            texts = _sample(corpora, int(recipe.tokenizer.get("sample", SAMPLE)))
            first = next(texts, None)
            if first is None:
                raise DataError("there is no text to learn from", hint="documents are separated by blank lines")
            backend = tokenizer(recipe.tokenizer, kind, chain([first], texts))
        replace_folder(start, lambda fresh: new(recipe.model, kind, backend, fresh, order.seed))
    return load(start)


def _sample(corpora: Sequence[Corpus], size: int) -> Iterator[str]:
    """As many characters of each corpus as its weight says, of documents drawn by their text; of little text, all."""
    whole = sum(one.weight for one in corpora)
    drawn = 0  # characters
    for one in corpora:
        left = size * one.weight / whole
        for text in one.documents():
            if chance(text, "tokenizer") < 0.5:
                yield text
                left, drawn = left - len(text), drawn + len(text)
            if left <= 0:
                break
    if drawn < min(size, LITTLE):
        yield from (text for one in corpora for text in one.documents() if chance(text, "tokenizer") >= 0.5)


def _job(
    order: Order, recipe: Recipe, lm: LocalLM, corpora: Sequence[Corpus], files: Sequence[Path], folder: Path, bar: Bar
) -> Job:
    """Tokenise, and cut into windows."""
    bar.step("reading and tokenising")
    recipe = recipe.taught(cast(Any, order.objectives), lm.kind, lm.window)
    sizes = [(one.path.name, one.path.stat().st_size, one.weight) for one in corpora]
    others = [(file.name, file.stat().st_size) for file in files]
    texts = (text for one in corpora for text in one.documents())
    tokens = packed(lm, texts, folder / "tokens", key=f"{sizes} {others}", held=order.held, without=Known(files))
    windows = [Windows(tokens.train, text_length(one)) for one in recipe.objectives]
    if not all(map(len, windows)):
        raise SettingError("the text is shorter than one window", hint="give more text, or lower `length`")
    held = Windows(tokens.held, text_length(recipe.objectives[0]))
    held.ids = held.ids[: HELD * held.length]
    if order.held and not len(held):
        show.note("no loss is measured: what is held out is shorter than a window; raise --held, or give more text")
    if recipe.compile:
        bar.step("compiling")
        hasten(lm)
    return Job(order, recipe, lm, tokens, windows, [held] if len(held) else [], folder)


def _steps(job: Job) -> int:
    """How many steps; hours become steps by the speed of the first ones, once."""
    order, first, path = job.order, job.recipe.objectives[0], job.folder / ORDER
    if order.steps:
        return order.steps
    if order.tokens:
        return max(1, round(order.tokens / (job.recipe.batch * first.length)))
    kept = kept_in(path)
    if "steps" not in kept:
        seconds = first.turn * _second(job, 1.0) + (1 - first.turn) * _second(job, 0.0)
        kept["steps"] = max(1, round(order.hours * 3600 / seconds))
        keep(path, kept)
    return int(kept["steps"])


def _second(job: Job, turn: float) -> float:
    """Seconds of a step in one of the two phases: the fastest of a few."""
    ends: list[float] = []
    objectives = [replace(one, turn=turn) for one in job.recipe.objectives]
    run = Run(listen=lambda event: ends.append(time.perf_counter()))
    batch, optim = job.recipe.batch, job.recipe.optim
    pretrain(job.lm, job.windows, objectives, batch=batch, steps=6, optim=optim, seed=0, run=run)
    return min(b - a for a, b in pairwise(ends))


def _train(job: Job, steps: int, checkpoint: float, bar: Bar) -> Mapping[str, torch.Tensor]:
    recipe = job.recipe
    with (job.folder / LOG).open("a", encoding="utf-8") as file, interruptible() as flag:
        run = Run(
            folder=job.folder / TRAIN, listen=listener(file, steps, bar), seconds=checkpoint, cancelled=flag.is_set
        )
        weights = pretrain(
            job.lm, job.windows, recipe.objectives, batch=recipe.batch, steps=steps, optim=recipe.optim,
            seed=job.order.seed, held=job.held, every=recipe.every, run=run,
        )  # fmt: skip
    return weights.tensors()


def _save(
    job: Job, corpora: Sequence[Corpus], steps: int, weights: Mapping[str, torch.Tensor], out: Path
) -> dict[str, Any]:
    log = read_log(job.folder / LOG)
    report = _report(job, steps, log)
    order, recipe, lm = job.order, job.recipe, job.lm
    begun = None if order.lm is None else Path(order.lm).name
    told = card(out.name, recipe, corpora, report, command(asdict(order), out.name), lm.kind, begun)

    def fill(fresh: Path) -> None:
        store(lm, weights, fresh, direct=all(one.objective == "prefix" for one in recipe.objectives))
        (fresh / WEIGHTS).chmod((fresh / CONFIG).stat().st_mode)  # it comes readable by its owner alone
        (fresh / LOG).write_text("".join(json.dumps(one) + "\n" for one in log), "utf-8")
        picture(log, fresh / PICTURE)
        (fresh / CARD).write_text(told, "utf-8")

    if out.exists():
        show.note(f"the model that was in {out} is replaced")
    replace_folder(out, fill, ours=OURS)
    return report


def _report(job: Job, steps: int, log: Log) -> dict[str, Any]:
    tuned = [one["loss"] for one in log if one["what"] == "tune"][-10:]
    devs = [one["dev_loss"] for one in log if one["what"] == "dev"]
    figures = job.tokens.figures
    return {
        "numbers": sum(one.numel() for one in job.lm.parameters.values()),
        "documents": figures["documents"],
        "documents_left_out": figures["left_out"],
        "tokens_of_text": figures["tokens"],
        "tokens_held_out": figures["held_tokens"],
        "steps": steps,
        "tokens_seen": steps * job.recipe.batch * job.recipe.objectives[0].length,
        "training_loss": sum(tuned) / max(1, len(tuned)),
        **({"held_out_loss": devs[-1]} if devs else {}),
    }
