"""Methods that train a head, on a task with a tag an item (sheet 47, section 4.6)."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from promptatlas.data.example import Example
from promptatlas.data.metric import measure
from promptatlas.data.task import Task
from promptatlas.data.view import Tags
from promptatlas.errors import DataError, NeedsError
from promptatlas.lm.lm import LM
from promptatlas.prompting import Prompt
from promptatlas.registry import fitting, method
from promptatlas.score.soft import Classifier
from promptatlas.testing import check_method, tiny, toy, toy_prompt, toy_tags, toy_tags_prompt
from promptatlas.text.template import Template

START = toy_tags_prompt()
QUICK: Mapping[str, Mapping[str, Any]] = {
    "p_tuning_v2": {"length": 2, "steps": 3, "batch": 4},
    "fine_tuning": {"steps": 3, "batch": 4},
    "feature_extraction": {"steps": 3, "batch": 4},
    "adapters": {"width": 4, "steps": 3, "batch": 4},
    "lora": {"rank": 2, "answer": "head", "steps": 3, "batch": 4},
    "ia3": {"answer": "head", "steps": 3, "batch": 4},
    "bitfit": {"answer": "head", "steps": 3, "batch": 4},
    "child_tuning": {"answer": "head", "steps": 3, "batch": 4},
    "diff_pruning": {"answer": "head", "steps": 3, "fixed_steps": 2, "batch": 4},
}
PAIRS = [*((name, "bert") for name in QUICK), *((name, "llama") for name in ("p_tuning_v2", "fine_tuning"))]


@pytest.mark.parametrize(("name", "family"), PAIRS)
def test_they_keep_the_contract(name: str, family: str) -> None:
    check_method(method(name, **QUICK[name]), tiny(family), toy_tags(), START)


@pytest.mark.parametrize("name", sorted(QUICK))
def test_what_they_make(name: str) -> None:
    made = method(name, **QUICK[name]).fit(tiny("bert"), toy_tags(), START)
    assert isinstance(made, Prompt)
    assert isinstance(made.words, Classifier)
    assert (str(made.template), made.view, made.words.pool) == ("{tokens:each}", Tags(), "each")
    assert made.labels == ("B-pets", "B-weather", "O")


def f1(prompt: Prompt, lm: LM, task: Task) -> float:
    told = [one.value for one in prompt.predict(lm, task.test)]
    found = measure("tags", [one.target for one in task.test], told, labels=task.labels, samples=1)
    return found["span_f1"].value


LEARNING: Mapping[str, Mapping[str, Any]] = {
    "p_tuning_v2": {"length": 4, "steps": 80, "lr": 0.02},
    "fine_tuning": {"steps": 40, "lr": 3e-3},
    "feature_extraction": {"steps": 150},
}


@pytest.mark.parametrize("family", ["bert", "llama"])
@pytest.mark.parametrize("name", LEARNING)
def test_they_learn_which_words_are_tagged(name: str, family: str) -> None:
    task, lm = toy_tags(seed=1), tiny(family)
    short = method(name, **{**LEARNING[name], "steps": 1}).fit(lm, task, START)
    made = method(name, **LEARNING[name]).fit(lm, task, START)
    assert isinstance(short, Prompt)
    assert isinstance(made, Prompt)
    assert f1(short, lm, task) < 0.5
    assert f1(made, lm, task) > 0.9


def test_numbers_trained() -> None:
    """Sheet 47, section 8.4: n · 2 · L · d and (d + 1) · C; here L = 2, d = 32, n = 3, C = 3."""
    made = method("p_tuning_v2", length=3, steps=1).fit(tiny("bert"), toy_tags(), START)
    assert made.history[-1].figures["trained"] == 3 * 2 * 2 * 32 + (32 + 1) * 3
    mixed = method("feature_extraction", steps=1).fit(tiny("bert"), toy_tags(), START)
    assert mixed.history[-1].figures["trained"] == 3 + 1 + (32 + 1) * 3  # a weight for each of 3 states, and γ


def test_a_template_that_never_cuts_stays_so_and_its_text_goes() -> None:
    start = replace(START, template=Template.parse("Topic : {tokens!:each} ."))
    tuned = method("fine_tuning", steps=1).fit(tiny("bert"), toy_tags(), start)
    prefixed = method("p_tuning_v2", steps=1).fit(tiny("bert"), toy_tags(), start)
    assert str(tuned.template) == "{tokens!:each}"  # type: ignore[union-attr]
    assert prefixed.template == start.template  # type: ignore[union-attr]


def test_a_list_of_another_name() -> None:
    task = toy_tags()
    renamed = replace(
        task, fields=("words",), train=tuple(replace(one, fields={"words": one.fields["tokens"]}) for one in task.train)
    )
    start = replace(START, template=Template.parse("{words:each}"), view=Tags("words"))
    made = method("p_tuning_v2", steps=1).fit(tiny("bert"), renamed, start)
    assert made.view == Tags("words")  # type: ignore[union-attr]


def test_the_papers_settings_go_with_tags() -> None:
    paper = method("p_tuning_v2", paper=True, steps=2, length=3)
    made = paper.fit(tiny("bert"), toy_tags(), START)
    assert made.words.pool == "each"  # type: ignore[union-attr]
    assert {"dev_accuracy", "dev_loss"} <= made.history[-1].figures.keys()


def test_a_fitted_prompt_is_where_another_fit_starts() -> None:
    lm = tiny("bert")
    made = method("p_tuning_v2", steps=2, length=3).fit(lm, toy_tags(), START)
    again = method("p_tuning_v2", steps=1, lr=1e-9).fit(lm, toy_tags(), made)  # type: ignore[arg-type]
    assert again.parts["head"].tensors()["weight"].shape == (3, 32)  # type: ignore[union-attr]
    assert [step.method for step in again.history] == ["p_tuning_v2"] * 2


def test_a_prefix_shared_with_tags_and_labels(tmp_path: Path) -> None:
    path = tmp_path / "others.jsonl"
    rows = [{"tokens": one.fields["tokens"], "tags": [tag[0] for tag in one.target or ()]} for one in toy_tags().train]  # type: ignore[union-attr]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf8")
    labels = tmp_path / "labels.jsonl"
    texts = [{"text": one.fields["text"], "label": one.target} for one in toy().train]
    labels.write_text("\n".join(map(json.dumps, texts)), encoding="utf8")
    settings: dict[str, Any] = {"length": 3, "steps": 1, "batch": 4, "lr": 0.02}
    alone = method("p_tuning_v2", **settings).fit(tiny("bert"), toy_tags(), START)
    made = method("p_tuning_v2", **settings, family=(str(path), str(labels)), family_steps=5).fit(
        tiny("bert"), toy_tags(), START
    )
    assert set(made.parts) == {"prefix", "head"}  # type: ignore[union-attr]
    apart = made.parts["prefix"].tensors()["self"] - alone.parts["prefix"].tensors()["self"]  # type: ignore[union-attr]
    assert float(apart.abs().mean()) > 0.01


def test_an_example_without_items_does_no_harm() -> None:
    task = toy_tags()
    some = replace(task, train=(Example({"tokens": ()}, (), "none"), *task.train[:3]))
    made = method("p_tuning_v2", steps=2, batch=4, length=2).fit(tiny("bert"), some, START)
    assert made.predict(tiny("bert"), {"tokens": []})[0].value == ()


@pytest.mark.parametrize(
    ("name", "settings", "kinds"),
    [
        ("prompt_tuning", {}, "label or choice or text"),
        ("pattern_tuning", {}, "label or choice or number"),
        ("in_context", {}, "label or choice or text"),
        ("lora", {}, "label or choice"),
        ("adapters", {"answer": "words"}, "label or choice"),
        ("p_tuning_v2", {"answer": "words"}, "label"),
    ],
)
def test_methods_that_answer_by_words_refuse_tags(name: str, settings: dict[str, Any], kinds: str) -> None:
    with pytest.raises(NeedsError) as caught:
        method(name, **settings).fit(tiny("bert"), toy_tags(), START)
    assert caught.value.message == f"`{name}` needs a task of kind {kinds}, and `toy tags` is of kind tags"


@pytest.mark.parametrize("name", sorted(QUICK))
def test_what_tags_need_is_said_before_any_work(name: str) -> None:
    made = method(name, **QUICK[name])
    with pytest.raises(NeedsError) as caught:
        made.fit(tiny("t5"), toy_tags(), START)
    assert caught.value.message == f"`{name}` reads tags in a masked or causal model, and `tiny-t5` is seq2seq"
    with pytest.raises(NeedsError) as caught:
        made.fit(tiny("bert"), toy_tags(), replace(START, template=Template.parse("{tokens}")))
    assert caught.value.message == f"`{name}` reads tags at `{{tokens:each}}`, and the template is `{{tokens}}`"


def test_which_methods_would_do() -> None:
    assert set(fitting(tiny("bert"), toy_tags(), START)) == {"feature_extraction", "fine_tuning", "p_tuning_v2"}


def test_tags_no_label_knows_are_named() -> None:
    task = toy_tags()
    odd = replace(task, train=(replace(task.train[0], target=("B-cars",) * len(task.train[0].target or ())),))  # type: ignore[arg-type]
    with pytest.raises(DataError) as caught:
        method("fine_tuning", steps=1).fit(tiny("bert"), odd, START)
    assert str(caught.value) == (
        "example `train 0` has the tag `B-cars`, which is no label\n\nhint: there are `B-pets`, `B-weather`, `O`"
    )


def test_a_head_for_labels_is_none_for_tags() -> None:
    lm = tiny("bert")
    labelled = method("fine_tuning", steps=1).fit(lm, toy(), toy_prompt())
    with pytest.raises(NeedsError, match=r"reads tags at `\{tokens:each\}`, and the template is `\{text\}`$"):
        method("p_tuning_v2", steps=1).fit(lm, toy_tags(), labelled)  # type: ignore[arg-type]
