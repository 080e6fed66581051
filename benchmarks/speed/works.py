"""What is measured: works by the name of their command, their cases, and what each case is to reach."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.speed import growth, mixed, overhead, shots, training
from benchmarks.speed.growth import Growth
from benchmarks.speed.mixed import Mixed
from benchmarks.speed.overhead import Overhead
from benchmarks.speed.setup import Setup
from benchmarks.speed.shots import Shots
from benchmarks.speed.training import Training

Measured = tuple[dict[str, Any], str]
BOTH = ("operations", "time")
SAME = 1.0  # where operations have a goal, time has to go in the same direction


@dataclass(frozen=True)
class Case:
    """One case of a work.

    Attributes:
        name: for people.
        given: what is measured.
        measure: does it: the case, the setup and a figure to values and versions.
        figures: which figures it has.
        goals: figure -> the ratio it is to reach.
    """

    name: str
    given: Any
    measure: Callable[[Any, Setup, str], Measured]
    figures: tuple[str, ...]
    goals: Mapping[str, float] = field(default_factory=dict)

    def how(self, setup: Setup) -> str:
        """Every setting the values depend on; not where things are."""
        given, known = self.given, setup.to_json()
        told = {name: known[name] for name in given.settings}
        texts = () if isinstance(given, Growth) else (setup.lengths().digest,)
        return json.dumps([asdict(given), told, *texts])


def _train(
    model: str, method: str, length: int, peer: str, figures: tuple[str, ...], goal: float | None = None
) -> Case:
    against = {"peft": "PEFT", "openprompt": "OpenPrompt"}[peer]
    noun = "vectors" if method == "soft" else "positions of prefix"
    goals = {} if goal is None else {one: goal if one != "time" else SAME for one in figures}
    given = Training(model, method, length, peer)
    return Case(f"{model}, {length} {noun}, {against}", given, training.measure, figures, goals)


def _shots(answer: int, goal: float) -> Case:
    noun = "token" if answer == 1 else "tokens"
    given = Shots("gpt2-small", answer)
    name = f"gpt2-small, answers of {answer} {noun}, lm-eval"
    return Case(name, given, shots.measure, BOTH, {"operations": goal, "time": SAME})


def _overhead(model: str, goal: float) -> Case:
    name = f"{model}, 20 vectors, transformers alone"
    return Case(name, Overhead(model), overhead.measure, ("share",), {"share": goal})


WORKS: Mapping[str, tuple[Case, ...]] = {
    "soft": (
        _train("bert-base", "soft", 20, "peft", BOTH, 0.57),
        _train("gpt2-small", "soft", 20, "peft", BOTH, 0.32),
        _train("t5-small", "soft", 20, "peft", BOTH),
    ),
    "openprompt": (_train("bert-base", "soft", 20, "openprompt", BOTH, 0.37),),
    "long": (_train("gpt2-small", "soft", 100, "peft", BOTH, 0.19),),
    "prefix": (
        _train("bert-base", "prefix", 20, "peft", BOTH, 0.62),
        _train("gpt2-small", "prefix", 20, "peft", BOTH, 0.62),
    ),
    "shots": (_shots(1, 0.08), _shots(3, 0.03)),
    "mixed": tuple(
        Case(f"{model}, 32 prompts in a batch, one prompt", Mixed(model), mixed.measure, BOTH, {"time": 1.1})
        for model in ("bert-base", "gpt2-small")
    ),
    "memory": (
        _train("bert-base", "soft", 20, "peft", ("memory",), 0.7),
        _train("gpt2-small", "soft", 20, "peft", ("memory",), 0.7),
        _train("t5-small", "soft", 20, "peft", ("memory",), 0.7),
        _train("bert-base", "soft", 20, "openprompt", ("memory",)),
    ),
    "overhead": (_overhead("bert-base", 0.03),),
    "growth": tuple(
        Case(f"{growth.MODELS[what]}, {many} {what}", Growth(what, many), growth.measure, ("cost",))
        for what, points in growth.POINTS.items()
        for many in points
    ),
}  # fmt: skip


def wanted(work: str, setup: Setup) -> list[Case]:
    """The cases of a work, those too large for this setup left out."""
    cases = WORKS[work]
    return [one for one in cases if not isinstance(one.given, Growth) or one.given.many <= setup.most]
