"""A comparison as data: which methods, on which tasks, with which language models, from how many labels, how often.

A plan is a TOML file:

    title = "Soft prompts with 16 labels a class"
    test = 500                        # test examples, drawn once for all cells; all of them where not told
    against = "fine_tuning"           # what every other is compared with

    [tasks.sst2]                      # a folder of that name under --data, or a task of the package
    template = "{text} It was {mask}."                       # or one a kind: { masked = "...", causal = "..." }
    words = { negative = "terrible", positive = "great" }

    [methods."prompt tuning, 5"]      # what needs more than a method's own name
    chain = ["prompt_tuning"]         # applied one after the other; [] is the prompt as it is
    settings = { length = 5 }         # of the last of the chain
    of.in_context = { k = 4 }         # of another one of it
    on.sst2 = { steps = 50 }          # beside these, on one task

    [[grid]]                          # every combination; several grids, and what they share is measured once
    methods = ["fine_tuning", "prompt tuning, 5"]
    tasks = ["sst2"]
    lms = ["pocket-masked"]
    shots = [16, 64]
    seeds = 5
    orders = 8                        # of drawn demonstrations; of methods that have a setting `shuffle`
"""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

from promptatlas import registry
from promptatlas.errors import SettingError, near
from promptatlas.text.compose import compose, phrases

BASELINES = ("majority", "naive Bayes")  # what takes no language model, and no settings
SHUFFLE = "shuffle"  # a method's setting: which order its demonstrations are shown in

TOP = ("title", "note", "test", "unlabeled", "profiled", "against", "worth", "tasks", "methods", "grid")
OF_TASK = ("data", "template", "words", "metric", "none", "without")
OF_METHOD = ("chain", "settings", "on", "of")
OF_GRID = ("methods", "tasks", "lms", "shots", "seeds", "orders")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One cell to be measured: a method on a task with a language model, from so many labels, under a seed.

    Where a draw of demonstrations is shown in several orders, a cell is one `order` of them.
    """

    method: str
    task: str
    lm: str
    shots: int
    seed: int
    order: int = 0


@dataclass(frozen=True, kw_only=True)
class TaskPlan:
    """Where a task is, and the prompt all methods start from; what isn't told is the task's own."""

    data: str
    template: Mapping[str, str] = field(default_factory=dict)
    words: Mapping[str, tuple[str, ...]] | None = None
    metric: str = ""
    none: str = ""
    without: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class MethodPlan:
    """Methods applied one after the other, and settings of the last.

    Attributes:
        chain: their names.
        settings: of the last.
        on: by task, settings beside these on that one alone.
        of: by name, settings of another one of the chain.
    """

    chain: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    on: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    of: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @cached_property
    def shuffles(self) -> bool:
        """Whether it shows demonstrations whose order can be set."""
        return any(registry.has(one, SHUFFLE) for one in self.chain)

    def told(self, task: str) -> Mapping[str, Any]:
        """The settings of the last method on this task."""
        return {**self.settings, **self.on.get(task, {})}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A comparison.

    Attributes:
        title: of the report.
        note: said below it.
        cells: what is to be measured, in order: seed by seed, so that a run that is stopped has all methods.
        tasks: by name.
        methods: by name; baselines aren't among them.
        test: most test examples; 0: all.
        unlabeled: most texts without a label that methods may see; 0: none.
        profiled: seeds whose operations and scores on the way are measured too, at the fewest labels of the plan.
        against: the method every other is compared with; "": none.
        worth: pairs of methods of which it is told how many labels fewer the first needs for the same score.
    """

    title: str
    note: str
    cells: tuple[Asked, ...]
    tasks: Mapping[str, TaskPlan]
    methods: Mapping[str, MethodPlan]
    test: int = 0
    unlabeled: int = 0
    profiled: int = 1
    against: str = ""
    worth: tuple[tuple[str, str], ...] = ()

    @cached_property
    def fewest(self) -> int:
        """The fewest labels of a cell."""
        return min(one.shots for one in self.cells)


def read_plan(path: Path) -> Plan:
    """The plan in a TOML file.

    Raises:
        SettingError: the file can't be read, or something in it is not known: what, and near names.
    """
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SettingError(f"the plan `{path}` can't be read: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingError(f"`{path}` is no TOML file: {error}", hint="docs/bench.md shows a plan") from error
    return plan_from(values, str(path))


def plan_from(values: Mapping[str, Any], where: str = "the plan") -> Plan:
    """The plan these values stand for; `where` is named in errors. Raises SettingError as `read_plan` does."""
    _known(values, TOP, where)
    tasks = {name: _task(name, one, where) for name, one in _table(values, "tasks", where).items()}
    methods = {name: _method(name, one, where) for name, one in _table(values, "methods", where).items()}
    grids = values.get("grid", [])
    if not isinstance(grids, list) or not grids:
        raise SettingError(f"{where} has no [[grid]]", hint="a grid says what is measured: methods, tasks, lms, shots")
    cells: dict[Asked, None] = {}
    for grid in grids:
        cells |= dict.fromkeys(_grid(grid, tasks, methods, where))
    for name, one in methods.items():
        for task in one.on:
            _one_of(task, tasks, f"{where}: [methods.{name}.on]")
    against = values.get("against", "")
    if against:
        _one_of(against, {one.method for one in cells}, f"{where}: `against`")
    pairs = tuple(_pair(one, cells, where) for one in values.get("worth", []))
    numbers = {name: _number(values, name, default, where) for name, default in _NUMBERS.items()}
    return Plan(
        title=str(values.get("title", Path(where).stem)), note=str(values.get("note", "")),
        cells=tuple(sorted(cells, key=lambda one: one.seed)), tasks=tasks, methods=methods, against=against,
        worth=pairs, **numbers,
    )  # fmt: skip


_NUMBERS = {"test": 0, "unlabeled": 0, "profiled": 1}


def _task(name: str, values: Any, where: str) -> TaskPlan:
    _known(values, OF_TASK, f"{where}: [tasks.{name}]")
    template = values.get("template", {})
    if isinstance(template, list):
        template = str(compose(template))
    kinds = template if isinstance(template, Mapping) else dict.fromkeys(("masked", "causal", "seq2seq"), template)
    _known(kinds, ("masked", "causal", "seq2seq"), f"{where}: the template of `{name}`")
    told = phrases(values.get("words") or {})
    return TaskPlan(
        data=str(values.get("data", name)), template=kinds, words=told or None, metric=str(values.get("metric", "")),
        none=str(values.get("none", "")), without=tuple(values.get("without", ())),
    )  # fmt: skip


def _method(name: str, values: Any, where: str) -> MethodPlan:
    _known(values, OF_METHOD, f"{where}: [methods.{name}]")
    if name in BASELINES:
        raise SettingError(f"{where}: `{name}` is a baseline, which has nothing to set", hint="give it another name")
    chain = tuple(values.get("chain", [name]))
    found = MethodPlan(
        chain=chain, settings=values.get("settings", {}), on=_table(values, "on", where), of=_table(values, "of", where)
    )
    if not chain:
        if found.settings or found.on or found.of:
            raise SettingError(f"{where}: `{name}` has settings and no method", hint='name the method: chain = ["..."]')
        return found
    for one in chain[:-1]:  # wrong names and values are said before anything runs
        registry.method(one, **found.of.get(one, {}))
    for one in found.of:
        _one_of(one, chain[:-1], f"{where}: [methods.{name}.of]")
    for settings in [found.told(task) for task in found.on] or [found.settings]:
        registry.method(chain[-1], **settings)
    return found


def _grid(values: Any, tasks: dict[str, TaskPlan], methods: dict[str, MethodPlan], where: str) -> Iterable[Asked]:
    """The cells of one grid; methods that were named by themselves alone are added to `methods`."""
    where = f"{where}: [[grid]]"
    _known(values, OF_GRID, where)
    lists = {key: _list(values, key, where) for key in ("methods", "tasks", "lms", "shots")}
    for task in lists["tasks"]:
        if task not in tasks:
            tasks[task] = TaskPlan(data=task)
    for name in lists["methods"]:
        if name not in methods and name not in BASELINES:
            _one_of(name, (*registry.names(), *methods, *BASELINES), f"{where}: `methods`")
            methods[name] = MethodPlan(chain=(name,))
    shots = [_whole(one, f"{where}: `shots`") for one in lists["shots"]]
    seeds, orders = range(_number(values, "seeds", 5, where)), range(_number(values, "orders", 1, where))
    for seed, task, lm, many, name in product(seeds, lists["tasks"], lists["lms"], shots, lists["methods"]):
        its = orders if name in methods and methods[name].shuffles else (0,)
        for order in its:
            yield Asked(method=name, task=task, lm="" if name in BASELINES else lm, shots=many, seed=seed, order=order)


def _pair(values: Any, cells: Iterable[Asked], where: str) -> tuple[str, str]:
    if not isinstance(values, list) or len(values) != 2:
        raise SettingError(
            f"{where}: `worth` has `{values}`", hint='give pairs: worth = [["pattern_tuning", "fine_tuning"]]'
        )
    for name in values:
        _one_of(name, {one.method for one in cells}, f"{where}: `worth`")
    return values[0], values[1]


def _table(values: Mapping[str, Any], key: str, where: str) -> Mapping[str, Any]:
    found = values.get(key, {})
    if not isinstance(found, Mapping) or not all(isinstance(one, Mapping) for one in found.values()):
        raise SettingError(f"{where}: `{key}` is no table of tables", hint=f"write [{key}.NAME]")
    return found


def _known(values: Any, names: Sequence[str], where: str) -> None:
    if not isinstance(values, Mapping):
        raise SettingError(f"{where} is no table", hint=f"it may have {', '.join(names)}")
    for name in values:
        _one_of(name, names, where)


def _one_of(name: Any, names: Iterable[str], where: str) -> None:
    known = tuple(names)
    if name not in known:
        raise SettingError(f"{where} has `{name}`, which isn't known", hint=near(str(name), known))


def _list(values: Mapping[str, Any], key: str, where: str) -> list[Any]:
    found = values.get(key)
    if not isinstance(found, list) or not found:
        raise SettingError(f"{where} has no list `{key}`", hint="it needs methods, tasks, lms and shots, each a list")
    return found


def _number(values: Mapping[str, Any], key: str, default: int, where: str) -> int:
    return _whole(values.get(key, default), f"{where}: `{key}`")


def _whole(value: Any, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise SettingError(f"{where} has `{value}`", hint="it is a whole number, 0 or more")
    return value
