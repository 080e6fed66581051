"""Which methods go on from which: the table of `docs/chains.md`, pair by pair."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from promptatlas.errors import NeedsError
from promptatlas.prompting import Prompt
from promptatlas.registry import method
from promptatlas.testing import tiny, toy, toy_prompt
from promptatlas.train.needs import Method

pytestmark = pytest.mark.filterwarnings("ignore")  # what a random model is told about its labels is no matter here

PAGE = Path(__file__).parents[2] / "docs" / "chains.md"
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "in_context": {"k": 2},
    "kate": {"k": 2},
    "max_marginal_relevance": {"k": 2},
    "vote_k": {"k": 2, "labels": 4},
    "entropy_order": {"k": 2, "draws": 1, "length": 12, "shortest": 1},
    "pero": {"k": 2, "population": 4, "parents": 2, "elites": 1, "generations": 1},
    "contextual_calibration": {},
    "batch_calibration": {},
    "domain_calibration": {"draws": 4},
    "prototypical_calibration": {"restarts": 2},
    "pmi": {},
    "petal": {"words": 2},
    "prompt_tuning": {"length": 2, "steps": 2, "batch": 4},
    "pattern_tuning": {"steps": 2, "batch": 4},
}
TASK = toy(train=6)


def made(name: str) -> Method:
    return method(name, **SETTINGS[name])


@cache
def first(name: str) -> Prompt:
    learned = made(name).fit(tiny("llama"), TASK, toy_prompt())
    assert isinstance(learned, Prompt)
    return learned


def kept(one: Prompt, after: Prompt) -> bool:
    """Whether what `one` has beside the first prompt is in `after`, too: demonstrations in whatever order."""
    lm, start, asked = tiny("llama"), toy_prompt(), TASK.test[:2]
    shown = [[sorted(demo.key for demo in some) for some in prompt.demos.pick(lm, asked)] for prompt in (one, after)]
    corrections = [[repr((each.kind, each.config())) for each in prompt.calibration] for prompt in (one, after)]
    return (
        (one.demos.kind == start.demos.kind or shown[0] == shown[1])
        and set(corrections[0]) <= set(corrections[1])
        and one.parts.keys() <= after.parts.keys()
        and (one.words.config()["words"] == start.words.config()["words"]
             or one.words.config()["words"] == after.words.config()["words"])
    )  # fmt: skip


def outcome(name: str, then: str) -> str:
    """What becomes of two methods: "both" work, only the "second" is left, or it "refuses"."""
    try:
        after = made(then).fit(tiny("llama"), TASK, first(name))
    except NeedsError as error:
        return "refuses" if error.hint else "refuses, and doesn't say what to do"
    assert isinstance(after, Prompt)
    return "both" if kept(first(name), after) else "second"


def table() -> dict[tuple[str, str], str]:
    """The page's table: rows come first, columns after them."""
    rows = [line.strip("|").split("|") for line in PAGE.read_text("utf-8").splitlines() if line.startswith("|")]
    cells = [[cell.strip().strip("`") for cell in row] for row in rows]
    columns = cells[0][1:]
    return {
        (row[0], then): cell
        for row in cells[2:]
        if row[0] in SETTINGS
        for then, cell in zip(columns, row[1:], strict=True)
    }


@pytest.mark.parametrize("name", SETTINGS)
def test_what_becomes_of_two(name: str) -> None:
    told = {pair: cell for pair, cell in table().items() if pair[0] == name}
    assert set(told) == {(name, then) for then in SETTINGS}
    assert {pair: outcome(*pair) for pair in told} == told


def test_neighbours_are_calibrated_one_by_one() -> None:
    for name in ("kate", "max_marginal_relevance", "vote_k"):
        each = method("contextual_calibration", each=True).fit(tiny("llama"), TASK, first(name))
        assert kept(first(name), each)
        assert each.calibration
