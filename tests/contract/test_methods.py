from collections.abc import Mapping
from itertools import product
from typing import Any

import pytest

from promptatlas.data.task import Task
from promptatlas.errors import NeedsError
from promptatlas.lm.lm import LM
from promptatlas.prompting import Prompt
from promptatlas.prompting.make import prompt
from promptatlas.registry import method, names
from promptatlas.testing import check_method, tiny, toy, toy_pairs, toy_prompt, toy_texts, toy_texts_prompt
from promptatlas.testing.tiny import names as families

# hardly trained, a random model may find one label everywhere, and iPET says so
pytestmark = pytest.mark.filterwarnings("ignore:no text is found to be")

QUICK: Mapping[str, Mapping[str, Any]] = {  # settings under which a fit is a matter of a few passes
    "adapet": {"steps": 3, "batch": 4},
    "adapters": {"width": 4, "steps": 3, "batch": 4},
    "autoprompt": {"iterations": 2, "length": 2, "candidates": 3, "batch": 4},
    "batch_calibration": {},
    "bitfit": {"steps": 3, "batch": 4},
    "channel": {},
    "chain_of_thought": {"k": 2, "answer": "text", "max_new": 4},
    "child_tuning": {"steps": 3, "batch": 4},
    "contextual_calibration": {},
    "diff_pruning": {"steps": 3, "fixed_steps": 2, "batch": 4},
    "feature_extraction": {"steps": 3, "batch": 4},
    "dart": {"steps": 3, "batch": 4},
    "domain_calibration": {"draws": 4},
    "efl": {"start": "none", "steps": 3, "batch": 4},
    "entropy_order": {"k": 2, "source": "given"},
    "fine_tuning": {"steps": 3, "batch": 4},
    "ia3": {"steps": 3, "batch": 4},
    "in_context": {"k": 2},
    "ipet": {"repeats": 2, "generations": 1, "steps": 20, "lr": 3e-3, "unlabeled_batch": 2, "student_steps": 2},
    "kate": {"k": 2},
    "knowprompt": {"steps": 3, "batch": 4},
    "kpt": {"rare": 0.0},
    "label_names": {"words": 2},
    "lm_bff": {"steps": 3, "batch": 4, "draws": 2},
    "lora": {"rank": 2, "steps": 3, "batch": 4},
    "max_marginal_relevance": {"k": 2},
    "null_prompts": {"steps": 3, "batch": 4},
    "optiprompt": {"epochs": 1},
    "p_tuning": {"length": 2, "steps": 3, "batch": 4},
    "p_tuning_v2": {"length": 2, "steps": 3, "batch": 4},
    "pattern_tuning": {"steps": 3, "batch": 4},
    "petal": {"words": 2},
    "pero": {"k": 2, "population": 4, "parents": 2, "elites": 1, "generations": 2, "whole": 0},
    "pet": {"repeats": 1, "steps": 3, "unlabeled_batch": 4, "student_steps": 3, "student_batch": 4},
    "pmi": {},
    "prefix_tuning": {"length": 2, "mid": 8, "steps": 3, "batch": 4},
    "prompt_tuning": {"length": 3, "steps": 3, "batch": 4},
    "prototypical_calibration": {"restarts": 2, "least": 0.01},  # texts hardly differ for a random model
    "ptr": {"steps": 3, "batch": 4},
    "self_consistency": {"chains": 3, "k": 2, "answer": "text", "max_new": 4},
    "soft_mixture": {"epochs": 1, "random": 1},
    "vote_k": {"labels": 6, "k": 2},
    "warp": {"steps": 3, "batch": 4},
    "zero_shot_generative": {},
}
ONE_OF_EACH = ("bert", "llama", "t5")
MASKED = (
    "adapet",
    "dart",
    "knowprompt",
    "optiprompt",
    "ptr",
    "soft_mixture",
    "warp",
)  # methods that need a mask in the middle of a text
WRITING = ("chain_of_thought", "self_consistency")  # methods that need a model that writes
REFUSED = {
    ("autoprompt", "t5"),
    ("autoprompt", "bart"),
    ("p_tuning_v2", "deberta-v2"),
    *((name, family) for name in MASKED for kind in ("causal", "seq2seq") for family in families(kind)),
    *((name, family) for name in WRITING for family in families("masked")),
    ("prefix_tuning", "deberta-v2"),
    *product(("channel", "zero_shot_generative"), families("masked")),
}  # kinds and families they can't do
BARE = {("bitfit", "llama"), ("bitfit", "t5"), ("bitfit", "modernbert")}  # nothing of what they train is there


PAIRS = prompt("{text} {head!} {mask} {tail!}", {"pets": "good", "weather": "bad"})
GIVEN: Mapping[str, tuple[Task, Prompt]] = {
    "knowprompt": (toy_pairs(), PAIRS),
    **dict.fromkeys(WRITING, (toy_texts(), toy_texts_prompt())),
}  # others take the plain toy task


def fits(name: str, family: str) -> bool:
    needs, lm = method(name, **QUICK[name]).needs, tiny(family)
    return lm.kind in needs.kinds and set(needs.can) <= lm.can


def test_every_method_has_quick_settings_here() -> None:
    assert set(names()) == set(QUICK), "a method that is new needs a line in QUICK"


def test_nothing_is_left_out() -> None:
    refused = {(name, family) for name, family in product(names(), families()) if not fits(name, family)}
    assert refused == REFUSED


@pytest.mark.parametrize(("name", "family"), sorted({*product(names(), ONE_OF_EACH)} - BARE))
def test_every_method_keeps_the_contract(name: str, family: str) -> None:
    check_method(method(name, **QUICK[name]), tiny(family), *GIVEN.get(name, ()))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "family"), sorted({*product(names(), set(families()) - set(ONE_OF_EACH))} - BARE))
def test_every_method_keeps_the_contract_on_every_family(name: str, family: str) -> None:
    check_method(method(name, **QUICK[name]), tiny(family), *GIVEN.get(name, ()))


@pytest.mark.parametrize("name", sorted({name for name, _ in REFUSED}))
def test_what_a_method_cannot_do_it_refuses(name: str) -> None:
    for family in (family for other, family in REFUSED if other == name):
        with pytest.raises(NeedsError, match=f"`{name}` needs a"):
            method(name, **QUICK[name]).fit(tiny(family), toy(), toy_prompt())


@pytest.mark.parametrize(("name", "family"), sorted(BARE))
def test_a_method_says_where_there_is_nothing_to_train(name: str, family: str) -> None:
    with pytest.raises(NeedsError, match="there is nothing to train"):
        method(name, **QUICK[name]).fit(tiny(family), toy(), toy_prompt())


def accuracy(prompt: Prompt, lm: LM, task: Task) -> float:
    told = prompt.predict(lm, task.test)
    return sum(answer.value == one.target for answer, one in zip(told, task.test, strict=True)) / len(task.test)


LEARNING: Mapping[str, Mapping[str, Any]] = {
    "fine_tuning": {"steps": 60, "batch": 12, "lr": 3e-3, "head_lr": 3e-3},
    "pattern_tuning": {"steps": 60, "batch": 12, "lr": 3e-3},
    "prompt_tuning": {"length": 8, "steps": 60, "batch": 12, "lr": 0.1, "flat": None},
    "p_tuning_v2": {"length": 6, "steps": 60, "batch": 12, "lr": 0.05, "flat": None},
}
ALL_WEIGHTS = [(name, family) for name in ("fine_tuning", "pattern_tuning") for family in ONE_OF_EACH]
FROZEN = [("prompt_tuning", "t5"), ("p_tuning_v2", "t5")]  # T5's weights are large from the start


@pytest.mark.parametrize(("name", "family"), ALL_WEIGHTS + FROZEN)
def test_what_is_trained_learns_the_toy_task(name: str, family: str) -> None:
    task, lm = toy(train=64, seed=1), tiny(family)
    fitted = method(name, **LEARNING[name]).fit(lm, task, toy_prompt())
    assert accuracy(toy_prompt(), lm, task) < 0.75
    assert accuracy(fitted, lm, task) >= 0.9


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "family", "scale"),
    [("prompt_tuning", "bert", 6.0), ("prompt_tuning", "llama", 6.0), ("p_tuning_v2", "llama", 3.0)],
)
def test_parts_of_a_frozen_model_learn_what_it_hears(name: str, family: str, scale: float) -> None:
    task, lm = toy(train=400, seed=1), tiny(family, scale=scale)
    settings = {**LEARNING[name], "steps": 250}
    fitted = method(name, **settings).fit(lm, task, toy_prompt())
    assert accuracy(toy_prompt(), lm, task) < 0.75
    assert accuracy(fitted, lm, task) >= 0.9
