"""Plans: what a file says, and what is wrong with one that can't be."""

from pathlib import Path
from typing import Any

import pytest

from promptatlas.bench.plan import Asked, plan_from, read_plan
from promptatlas.errors import SettingError

GRID = {"methods": ["zero-shot", "bitfit"], "tasks": ["hats"], "lms": ["tiny"], "shots": [4], "seeds": 2}
VALUES: dict[str, Any] = {"title": "Hats", "methods": {"zero-shot": {"chain": []}}, "grid": [GRID]}


def test_a_grid_is_every_combination_seed_by_seed():
    plan = plan_from(VALUES)
    assert plan.cells == tuple(
        Asked(method=method, task="hats", lm="tiny", shots=4, seed=seed)
        for seed in (0, 1)
        for method in ("zero-shot", "bitfit")
    )
    assert plan.methods["bitfit"].chain == ("bitfit",)
    assert plan.tasks["hats"].data == "hats"


def test_what_grids_share_is_measured_once():
    wider = {**GRID, "shots": [4, 8]}
    assert len(plan_from({**VALUES, "grid": [GRID, wider]}).cells) == 8


def test_a_baseline_takes_no_model():
    plan = plan_from({**VALUES, "grid": [{**GRID, "methods": ["majority"], "lms": ["tiny", "small"]}]})
    assert plan.cells == tuple(Asked(method="majority", task="hats", lm="", shots=4, seed=seed) for seed in (0, 1))


def test_one_template_is_that_of_every_kind_of_model():
    tasks = {"hats": {"template": "{text} {mask}"}, "coats": {"template": {"causal": "{text}: {mask}"}}}
    plan = plan_from({**VALUES, "tasks": tasks})
    assert plan.tasks["hats"].template == dict.fromkeys(("masked", "causal", "seq2seq"), "{text} {mask}")
    assert plan.tasks["coats"].template == {"causal": "{text}: {mask}"}


def test_words_may_be_one_or_several():
    plan = plan_from({**VALUES, "tasks": {"hats": {"words": {"up": "good", "down": ["bad", "poor"]}}}})
    assert plan.tasks["hats"].words == {"up": ("good",), "down": ("bad", "poor")}


def test_settings_may_differ_by_task():
    soft = {"settings": {"steps": 9}, "on": {"hats": {"batch": 2}}}
    plan = plan_from({**VALUES, "methods": {"bitfit": soft, "zero-shot": {"chain": []}}})
    assert plan.methods["bitfit"].told("hats") == {"steps": 9, "batch": 2}
    assert plan.methods["bitfit"].told("coats") == {"steps": 9}


def test_a_template_may_be_sub_prompts_and_words_may_be_rules():
    hats = {"template": ["{text}", " {mask:a}"], "words": {"up": ["good", "so"], "down": {"reversed": "up"}}}
    plan = plan_from({**VALUES, "tasks": {"hats": hats}})
    assert plan.tasks["hats"].template["masked"] == "{text} {mask:a}"
    assert plan.tasks["hats"].words == {"up": ("good", "so"), "down": ("so", "good")}


@pytest.mark.parametrize(
    ("changed", "message", "hint"),
    [
        ({"grids": []}, "the plan has `grids`, which isn't known", "did you mean `grid`?"),
        ({"grid": []}, "the plan has no [[grid]]", "a grid says what is measured: methods, tasks, lms, shots"),
        (
            {"grid": [{**GRID, "methods": ["bitfot"]}]},
            "the plan: [[grid]]: `methods` has `bitfot`, which isn't known",
            "did you mean `bitfit`?",
        ),
        (
            {"grid": [{**GRID, "shots": [1.5]}]},
            "the plan: [[grid]]: `shots` has `1.5`",
            "it is a whole number, 0 or more",
        ),
        (
            {"grid": [{**GRID, "tasks": []}]},
            "the plan: [[grid]] has no list `tasks`",
            "it needs methods, tasks, lms and shots, each a list",
        ),
        (
            {"methods": {"bitfit": {"settings": {"stepz": 1}}}},
            "`bitfit` has no setting `stepz`",
            "did you mean `steps`?",
        ),
        (
            {"methods": {"none": {"chain": [], "settings": {"lr": 1}}}},
            "the plan: `none` has settings and no method",
            'name the method: chain = ["..."]',
        ),
        (
            {"methods": {"bitfit": {"on": {"hats": {"stepz": 1}}}}},
            "`bitfit` has no setting `stepz`",
            "did you mean `steps`?",
        ),
        (
            {"methods": {"zero-shot": {"chain": []}, "bitfit": {"on": {"hat": {"steps": 1}}}}},
            "the plan: [methods.bitfit.on] has `hat`, which isn't known",
            "did you mean `hats`?",
        ),
        (
            {"methods": {"majority": {}}},
            "the plan: `majority` is a baseline, which has nothing to set",
            "give it another name",
        ),
        (
            {"against": "bitfot"},
            "the plan: `against` has `bitfot`, which isn't known",
            "did you mean `bitfit`?",
        ),
        (
            {"tasks": {"hats": {"template": {"masks": "{mask}"}}}},
            "the plan: the template of `hats` has `masks`, which isn't known",
            "did you mean `masked`?",
        ),
        (
            {"worth": ["bitfit"]},
            "the plan: `worth` has `bitfit`",
            'give pairs: worth = [["pattern_tuning", "fine_tuning"]]',
        ),
        ({"tasks": []}, "the plan: `tasks` is no table of tables", "write [tasks.NAME]"),
    ],
)
def test_what_is_wrong_is_named(changed: dict[str, Any], message: str, hint: str):
    with pytest.raises(SettingError) as raised:
        plan_from({**VALUES, **changed})
    assert (raised.value.message, raised.value.hint) == (message, hint)


def test_a_file_that_is_no_toml_is_refused(tmp_path: Path):
    path = tmp_path / "plan.toml"
    path.write_text("title = ", "utf-8")
    with pytest.raises(SettingError, match="is no TOML file"):
        read_plan(path)
    with pytest.raises(SettingError, match="can't be read"):
        read_plan(tmp_path / "other.toml")


@pytest.mark.parametrize("path", sorted(Path("benchmarks/plans").glob("*.toml")), ids=lambda path: path.stem)
def test_our_own_plans_can_be_read(path: Path):
    assert read_plan(path).cells


def test_orders_are_those_of_methods_that_show_demonstrations():
    grid = {**GRID, "methods": ["shown", "bitfit"], "seeds": 1, "orders": 3}
    plan = plan_from({"methods": {"shown": {"chain": ["in_context"]}}, "grid": [grid]})
    assert [(one.method, one.order) for one in plan.cells] == [*(("shown", at) for at in range(3)), ("bitfit", 0)]


def test_settings_may_be_of_another_of_the_chain():
    chain = {"chain": ["in_context", "contextual_calibration"], "of": {"in_context": {"k": 2}}}
    plan = plan_from({"methods": {"zero-shot": chain}, "grid": [{**GRID, "methods": ["zero-shot"]}]})
    assert plan.methods["zero-shot"].of == {"in_context": {"k": 2}}
    with pytest.raises(SettingError, match="has `kate`, which isn't known"):
        plan_from({"methods": {"zero-shot": {**chain, "of": {"kate": {}}}}, "grid": [GRID]})
