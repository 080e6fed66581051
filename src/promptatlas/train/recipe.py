"""How a language model is made or trained on: read from a TOML file, checked before anything is done."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, cast

from promptatlas.errors import SettingError, near
from promptatlas.lm.lm import Kind
from promptatlas.train.optim import Optim
from promptatlas.train.pretrain import KINDS, Objective, Pretrain

TABLES = ("model", "tokenizer", "objective", "train")
TRAIN: Mapping[str, object] = {
    "batch": 8,
    "lr": 1e-3,
    "warmup": 0.03,
    "weight_decay": 0.01,
    "clip": 1.0,
    "sized": False,
    "every": 500,
    "compile": False,
}
TOKENIZER = ("type", "vocabulary", "lower", "window", "sample")
DEFAULT: Mapping[Kind, tuple[Objective, ...]] = {"masked": ("masked",), "causal": ("causal",), "seq2seq": ("span",)}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a TOML file says.

    Attributes:
        model: `type` and settings of its configuration; empty where an existing model is trained on.
        tokenizer: see `lm.make.tokenizer`; `sample`: characters it is learned from.
        objectives: see `Pretrain`; trained together.
        batch: windows a step.
        optim: how weights are moved: linear rise, linear fall.
        every: steps between two measurements.
        compile: whether the model is compiled first: a minute, and then a fifth faster where there is a C++ compiler.
    """

    model: Mapping[str, Any] = field(default_factory=dict)
    tokenizer: Mapping[str, Any] = field(default_factory=dict)
    objectives: tuple[Pretrain, ...] = ()
    batch: int = 8
    optim: Optim = field(default_factory=lambda: Optim(lr=1e-3, schedule="linear", warmup=0.03, weight_decay=0.01))
    every: int = 500
    compile: bool = False

    @property
    def kind(self) -> Kind:
        """Of the model that these objectives train."""
        return KINDS[self.objectives[0].objective]

    def taught(self, objectives: tuple[Objective, ...], kind: Kind, window: int) -> "Recipe":
        """With other objectives, or those a kind of model has; what a window doesn't hold is shortened."""
        own = [_shortened(one, window) for one in self.objectives]
        wanted = objectives or tuple(one.objective for one in own) or DEFAULT[kind]
        base = own[0] if own else Pretrain(objective=wanted[0], length=min(512, window))
        known = {one.objective: one for one in own}
        return replace(self, objectives=tuple(known.get(name, replace(base, objective=name)) for name in wanted))


def _shortened(one: Pretrain, window: int) -> Pretrain:
    """The objective with rows that fit a window, a whole number of short ones in each long one."""
    length = min(one.length, window)
    short = min(one.short, length)
    return replace(one, length=length - length % short if short else length, short=short)


def read(path: Path) -> Recipe:
    """The recipe in a file. Raises SettingError: what in it can't be, and what could."""
    try:
        found = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise SettingError(
            f"`{path}` can't be read: {error}", hint="a TOML file; see recipes/ and docs/pretrain.md"
        ) from error
    for name in found:
        if name not in TABLES:
            raise SettingError(f"`{path}` has `[{name}]`", hint=near(name, TABLES))
    for name in TABLES:
        shape, brackets = (list, "[[{}]]") if name == "objective" else (dict, "[{}]")
        if not isinstance(found.get(name, shape()), shape):
            raise SettingError(f"`{path}` has `{name}` in another form", hint=f"write `{brackets.format(name)}`")
    train = {**TRAIN, **_known(found.get("train", {}), TRAIN, path, "train")}
    names = [one.name for one in fields(Pretrain)]
    objectives = tuple(
        Pretrain(**_known(one, names, path, "objective"))
        for one in cast(list[dict[str, Any]], found.get("objective", []))
    )
    moves = ("lr", "warmup", "weight_decay", "clip", "sized")
    optim = Optim(schedule="linear", betas=(0.9, 0.98), **cast(Any, {name: train[name] for name in moves}))
    if len({KINDS[one.objective] for one in objectives}) > 1:
        raise SettingError(f"`{path}` has objectives of different kinds of model", hint="one model has one kind")
    pieces = _known(found.get("tokenizer", {}), TOKENIZER, path, "tokenizer")
    return Recipe(
        model=found.get("model", {}), tokenizer=pieces, objectives=objectives,
        batch=cast(int, train["batch"]), optim=optim, every=cast(int, train["every"]), compile=bool(train["compile"]),
    )  # fmt: skip


def _known(table: Mapping[str, Any], names: Any, path: Path, where: str) -> Mapping[str, Any]:
    for name in table:
        if name not in names:
            raise SettingError(f"`{path}` has `{name}` under `[{where}]`", hint=near(name, list(names)))
    return table
