"""Measuring the cells of a plan: in processes side by side, a line of JSON each as soon as it is there.

A line's key is a hash of all its figures depend on: examples, prompt, settings, the model's weights. So a run that was
stopped goes on, and what was measured under other settings is measured again.
"""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from hashlib import sha256
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from promptatlas import registry
from promptatlas.bench.measure import Contender, majority, measured, naive_bayes
from promptatlas.bench.plan import BASELINES, SHUFFLE, Asked, Plan, TaskPlan
from promptatlas.bench.report import Cell
from promptatlas.bench.tasks import halved, left
from promptatlas.bench.watch import Watcher
from promptatlas.data.draw import few_shot
from promptatlas.data.read import read_task
from promptatlas.data.task import Task
from promptatlas.errors import DataError, PromptAtlasError, SettingError
from promptatlas.lm.load import load
from promptatlas.lm.local import LocalLM
from promptatlas.prompting import Prompt
from promptatlas.prompting.make import prompt, template_of
from promptatlas.train.needs import Method

DRAW = 0  # the seed that draws test examples, for all cells
LOOKED = 200  # of the test examples are looked at on the way

Tell = Callable[[str, int, int], None]  # what was done, how many cells are done, of how many


@dataclass(frozen=True)
class Outcome:
    """What a run came to: cells that are there now, what failed and why, and how many are still missing."""

    cells: tuple[Cell, ...]
    failed: Mapping[Asked, str]
    missing: int


@dataclass(frozen=True)
class Work:
    """All of one cell: what takes part, on what, from which prompt, and its key."""

    asked: Asked
    contender: Contender
    task: Task
    start: Prompt | None
    key: str


def run(
    plan: Plan,
    out: Path,
    *,
    data: Path | None = None,
    processes: int = 1,
    minutes: float | None = None,
    tell: Tell | None = None,
) -> Outcome:
    """Measure what is missing of a plan.

    Args:
        plan: the comparison.
        out: a file of JSON lines; cells in it that are the plan's are not measured again, others stay in it.
        data: the folder of the plan's tasks.
        processes: how many cells are measured side by side, each by one thread.
        minutes: after which no further cell is begun.
        tell: told of every cell.

    Raises:
        DataError: `out` holds something else than such lines.
        SettingError: a task or a language model that isn't there.
    """
    began = time.monotonic()
    known = read_lines(out)
    keys = {asked: work(plan, asked, data).key for asked in plan.cells}
    todo = [asked for asked in plan.cells if keys[asked] not in known]
    failed: dict[Asked, str] = {}

    def over() -> bool:
        return minutes is not None and time.monotonic() - began >= 60 * minutes

    if todo and not over():
        _whole(out)
    for done, (asked, line) in enumerate(_lines(plan, todo, data, processes, over), len(plan.cells) - len(todo) + 1):
        if isinstance(line, str):
            failed[asked] = line
        else:
            _append(out, line)
            known[line["key"]] = Cell.from_json(line["cell"])
        if tell is not None:
            tell(f"{asked.task}, {asked.method}, seed {asked.seed}", done, len(plan.cells))
    cells = tuple(known[key] for key in keys.values() if key in known)
    return Outcome(cells, failed, len(plan.cells) - len(cells))


def measured_line(plan: Plan, asked: Asked, data: Path | None) -> dict[str, Any]:
    """One cell's line: the cell, its key, and what it was measured with."""
    torch.set_num_threads(1)
    one = work(plan, asked, data)
    if one.start is None:
        figures, hits = _BASELINES[asked.method](one.task)
    else:
        lm = _lm(asked.lm)
        found = measured(one.contender, lm, one.task, one.start)
        figures, hits = found.figures, found.hits
        if closely(plan, asked) and one.contender.methods:
            figures |= profile(one, lm)
    cell = Cell(**asdict(asked), figures=figures, hits=hits)
    versions = {name: version(name) for name in ("promptatlas", "torch", "transformers")}
    return {"key": one.key, "cell": cell.to_json(), "methods": _settings(one.contender), "versions": versions}


def closely(plan: Plan, asked: Asked) -> bool:
    """Whether a cell is one that is looked at closely: the first draws, at the fewest labels there are."""
    return asked.seed < plan.profiled and asked.shots == plan.fewest


def profile(one: Work, lm: LocalLM) -> dict[str, float | int]:
    """Operations a step and steps to 95 % of the final score: the same fit again, watched."""
    assert one.start is not None
    watcher = Watcher(lm, one.task, one.task.test[:LOOKED])
    if one.task.kind in ("label", "choice", "number"):  # what else there is can't be answered untrained
        watcher.look(one.start)
    found = measured(one.contender, lm, one.task, one.start, begin=watcher.begin)
    watcher.look(found.prompt)
    return watcher.figures()


def work(plan: Plan, asked: Asked, data: Path | None) -> Work:
    """What is to be done for a cell. Raises SettingError or DataError where it can't be."""
    lm = _lm(asked.lm) if asked.lm else None
    contender = Contender(asked.method, _methods(plan, asked))
    task = _few(plan, asked, data)
    if any("dev" in one.needs.splits for one in contender.methods):
        task = halved(task)
    start = None if lm is None else _start(plan.tasks[asked.task], task, lm)
    made = [
        asked.method, asked.lm, asked.shots, asked.seed, closely(plan, asked), task.identity(),
        _settings(contender), None if start is None else start.key, None if lm is None else lm.identity,
    ]  # fmt: skip
    told = plan.tasks[asked.task]
    if told.metric or told.none:
        made += [told.metric, told.none]
    return Work(asked, contender, task, start, sha256(json.dumps(made).encode()).hexdigest()[:16])


def read_lines(path: Path) -> dict[str, Cell]:
    """The cells of a file by key; a last line cut off by a kill is left out. Raises DataError for anything else."""
    if not path.is_file():
        return {}
    text = path.read_text("utf-8")
    lines = text.splitlines()
    found = {}
    for at, line in enumerate(lines, 1):
        try:
            values = json.loads(line)
            found[str(values["key"])] = Cell.from_json(values["cell"])
        except (ValueError, KeyError, TypeError, DataError) as error:
            if at == len(lines) and not text.endswith("\n"):
                break
            raise DataError(f"{path}:{at} is no line of a comparison", hint="give another --out") from error
    return found


def _lines(
    plan: Plan, todo: Sequence[Asked], data: Path | None, processes: int, over: Callable[[], bool]
) -> Iterator[tuple[Asked, dict[str, Any] | str]]:
    """A line a cell, as they are done, or why there is none."""
    if processes < 2:
        for asked in todo:
            if over():
                return
            yield asked, _tried(plan, asked, data)
        return
    left = list(reversed(todo))
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        running: dict[Future[dict[str, Any] | str], Asked] = {}
        while running or (left and not over()):
            while left and len(running) < processes and not over():
                asked = left.pop()
                running[pool.submit(_tried, plan, asked, data)] = asked
            for one in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(one), one.result()


def _tried(plan: Plan, asked: Asked, data: Path | None) -> dict[str, Any] | str:
    try:
        return measured_line(plan, asked, data)
    except PromptAtlasError as error:
        return error.message


def _whole(path: Path) -> None:
    """Cut off what a kill left of a last line."""
    text = path.read_bytes() if path.is_file() else b""
    if text and not text.endswith(b"\n"):
        os.truncate(path, text.rfind(b"\n") + 1)


def _append(path: Path, line: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")


def _few(plan: Plan, asked: Asked, data: Path | None) -> Task:
    """A task with few labels and nothing to choose by, so that all methods see the same."""
    told = plan.tasks[asked.task]
    few = _drawn(told.data, data, plan.test, told.without, asked.shots, asked.seed)
    return replace(
        few, name=asked.task, dev=(), unlabeled=few.unlabeled[: plan.unlabeled], metric=told.metric or few.metric,
        none=told.none or few.none,
    )  # fmt: skip


@lru_cache
def _task(name: str, data: Path | None, test: int, without: tuple[str, ...]) -> Task:
    folder = None if data is None else data / name
    task = left(read_task(str(folder) if folder is not None and folder.exists() else name), without)
    return replace(task, test=few_shot(task.test, test, DRAW).drawn) if 0 < test < len(task.test) else task


@lru_cache
def _drawn(name: str, data: Path | None, test: int, without: tuple[str, ...], shots: int, seed: int) -> Task:
    return _task(name, data, test, without).few(shots, seed, dev=0)


@lru_cache
def _lm(name: str) -> LocalLM:
    return load(name, "cpu")


def _start(told: TaskPlan, task: Task, lm: LocalLM) -> Prompt:
    template = told.template.get(lm.kind, template_of(task))
    if template is None:
        raise SettingError(
            f"`{task.name}` has no template for a {lm.kind} model", hint=f"give [tasks.{task.name}] a template"
        )
    words = None if task.kind in ("choice", "tags", "text") else told.words or task.words
    return prompt(template, words, view=task.view)


def _methods(plan: Plan, asked: Asked) -> tuple[Method, ...]:
    if asked.method in BASELINES:
        return ()
    told = plan.methods[asked.method]
    last, settings = len(told.chain) - 1, told.told(asked.task)
    found = []
    for at, one in enumerate(told.chain):
        mine: dict[str, Any] = {SHUFFLE: asked.order} if asked.order and _has(one, SHUFFLE) else {}
        mine |= settings if at == last else told.of.get(one, {})
        found.append(registry.seeded(one, asked.seed, **mine))
    return tuple(found)


def _settings(contender: Contender) -> list[str]:
    return [f"{one.name} {one}" for one in contender.methods]


_has = lru_cache(registry.has)  # it reads a file
_BASELINES = {"majority": majority, "naive Bayes": naive_bayes}
