"""Methods that train small modules or few differences: what each trains, what it leaves, what comes of it."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from promptatlas.artifact.load import load
from promptatlas.artifact.save import save
from promptatlas.data.task import Task
from promptatlas.errors import NeedsError
from promptatlas.methods.adapters import AdapterTuning
from promptatlas.methods.bitfit import BitFit
from promptatlas.methods.child_tuning import ChildTuning
from promptatlas.methods.contextual_calibration import ContextualCalibration
from promptatlas.methods.diff_pruning import DiffPruning
from promptatlas.methods.feature_extraction import FeatureExtraction
from promptatlas.methods.fine_tuning import FineTuning
from promptatlas.methods.ia3 import IA3
from promptatlas.methods.lora import LoRA
from promptatlas.methods.pattern_tuning import PatternTuning
from promptatlas.methods.prompt_tuning import PromptTuning
from promptatlas.parts.child import Child
from promptatlas.parts.weights import Values, full
from promptatlas.prompting import Prompt
from promptatlas.testing.same import fingerprint
from promptatlas.testing.tasks import toy, toy_prompt
from promptatlas.testing.tiny import tiny
from promptatlas.train.fisher import fisher
from promptatlas.train.loop import Term, tune
from promptatlas.train.loss import Batch, nll
from promptatlas.train.optim import Optim
from promptatlas.train.run import Run

TASK = toy()
QUICK: tuple[Any, ...] = (
    BitFit(steps=2),
    BitFit(steps=2, which="norms", answer="head"),
    LoRA(rank=2, steps=2),
    LoRA(rank=2, steps=2, answer="head"),
    IA3(steps=2),
    IA3(steps=2, answer="head"),
    AdapterTuning(width=4, steps=2),
    AdapterTuning(width=4, steps=2, answer="words", places="pfeiffer", train_norms=False),
    ChildTuning(steps=2),
    ChildTuning(steps=2, mode="F", answer="head"),
    DiffPruning(steps=2, fixed_steps=1),
    DiffPruning(steps=2, fixed_steps=1, structured=False, answer="head"),
    FeatureExtraction(steps=2),
)


def numbers(prompt: Prompt) -> dict[str, int]:
    return {name: sum(one.numel() for one in part.parameters()) for name, part in prompt.trainable().items()}


def accuracy(prompt: Prompt, lm: Any, task: Task = TASK) -> float:
    told = prompt.predict(lm, task.train)
    return sum(answer.value == one.target for answer, one in zip(told, task.train, strict=True)) / len(told)


@pytest.mark.parametrize("method", QUICK, ids=lambda one: f"{one.name}-{getattr(one, 'answer', 'head')}")
def test_every_one_leaves_the_model_drops_a_calibration_and_goes_on(method: Any) -> None:
    lm = tiny("bert")
    before = fingerprint(lm)
    calibrated = ContextualCalibration().fit(lm, TASK, toy_prompt())
    once = method.fit(lm, TASK, calibrated)
    assert fingerprint(lm) == before
    assert once.calibration == ()
    assert [step.method for step in once.history] == ["contextual_calibration", method.name]
    assert all(not part.training for part in once.trainable().values())
    head = getattr(method, "answer", "head") == "head"
    assert ("head" in once.parts) == head
    assert str(once.template) == ("{text}" if head else "{text} It was {mask}")
    again = method.fit(lm, TASK, once)
    assert set(again.parts) == set(once.parts)
    kept = once.parts["head"].tensors()["weight"] if head else None
    if kept is not None:  # two more steps do not go far: it went on from there
        torch.testing.assert_close(again.parts["head"].tensors()["weight"], kept, atol=0.1, rtol=0)


@pytest.mark.parametrize("method", [BitFit, LoRA, IA3, AdapterTuning, ChildTuning, DiffPruning])
def test_a_head_needs_labels_and_words_a_slot(method: Any) -> None:
    lm = tiny("bert")
    bare = replace(toy_prompt(), template=toy_prompt().template.parse("{text}"))
    with pytest.raises(NeedsError, match="needs a template with a slot"):
        method(answer="words").fit(lm, TASK, bare)
    choices = replace(TASK, kind="choice", labels=(), words=None, metric="")
    with pytest.raises(NeedsError, match="needs a task of kind label or tags, and `toy` is of kind choice"):
        method(answer="head").fit(lm, choices, toy_prompt())


def test_under_a_head_a_part_in_the_template_stays() -> None:
    lm = tiny("bert")
    soft = PromptTuning(length=2, steps=1).fit(lm, TASK, toy_prompt())
    tuned = LoRA(rank=2, steps=1, answer="head").fit(lm, TASK, soft)
    assert str(tuned.template) == "{@soft}{text} It was {mask}"
    assert set(tuned.parts) == {"soft", "lora", "head"}


# bitfit, lora, ia3


def test_bitfit_moves_every_bias_the_slot_hears_and_nothing_else() -> None:
    lm = tiny("bert")
    tuned = BitFit(steps=3).fit(lm, TASK, toy_prompt()).parts["biases"].tensors()
    every = {name for name in lm.parameters if name.endswith("bias")}
    assert set(tuned) <= every
    assert {name for name in every - set(tuned) if "attention.self.key" not in name} == set()


def test_bitfit_on_norms_alone_and_on_chosen_places() -> None:
    lm = tiny("bert")
    norms = BitFit(steps=2, which="norms").fit(lm, TASK, toy_prompt())
    assert set(numbers(norms)) == {"norms"}
    chosen = BitFit(steps=2, places=("up",)).fit(lm, TASK, toy_prompt())
    assert numbers(chosen) == {"biases": 2 * 48}


def test_bitfit_under_a_head_stores_nothing_of_the_models_own_head() -> None:
    tuned = BitFit(steps=2, answer="head").fit(tiny("bert"), TASK, toy_prompt())
    assert not any("predictions" in name for name in tuned.parts["biases"].tensors())


def test_numbers_of_lora_and_ia3() -> None:
    lm = tiny("bert")
    assert numbers(LoRA(rank=2, steps=1).fit(lm, TASK, toy_prompt())) == {"lora": 2 * 2 * 2 * (32 + 32)}
    assert numbers(IA3(steps=1).fit(lm, TASK, toy_prompt())) == {"ia3": 2 * (32 + 32 + 48)}
    assert LoRA(rank=4, alpha=8.0, steps=1).fit(lm, TASK, toy_prompt()).parts["lora"].config()["scale"] == 2.0


# adapters


def test_adapters_norms_and_head_all_move_and_tasks_do_not_meet() -> None:
    lm = tiny("bert")
    first = AdapterTuning(width=4, steps=3, lr=1e-2).fit(lm, TASK, toy_prompt())
    start = AdapterTuning(width=4, steps=1, lr=1e-12, head_lr=1e-12).fit(lm, TASK, toy_prompt())
    for part in ("adapters", "head"):
        for name, one in first.parts[part].tensors().items():
            assert not torch.equal(one, start.parts[part].tensors()[name]), (part, name)
    heard = {name for name in lm.parameters if "LayerNorm" in name and "predictions" not in name}
    assert set(first.parts["norms"].tensors()) == heard  # the model's own head isn't read
    assert numbers(first)["adapters"] == 2 * 2 * (2 * 4 * 32 + 4 + 32)
    with torch.no_grad():
        before = first.score(lm, TASK.test)
    AdapterTuning(width=8, steps=2).fit(lm, toy(seed=3), toy_prompt())
    with torch.no_grad():
        assert torch.equal(first.score(lm, TASK.test), before)
        bare = replace(first, parts={name: one for name, one in first.parts.items() if name == "head"})
        assert not torch.allclose(bare.score(lm, TASK.test), before)  # the model without them is still there


# feature extraction


def test_each_text_goes_through_the_model_once_however_many_epochs() -> None:
    lm = tiny.__wrapped__("bert")
    _ = lm.fast  # tried out before we count
    once = FeatureExtraction(steps=2, batch=16)  # 32 examples: one epoch
    spent = lm.spent.tokens
    once.fit(lm, TASK, toy_prompt())
    epoch = lm.spent.tokens - spent
    lm.kept.clear()
    spent = lm.spent.tokens
    replace(once, steps=40).fit(lm, TASK, toy_prompt())
    assert lm.spent.tokens - spent == epoch > 0


def test_what_is_kept_changes_nothing() -> None:
    lm, other = tiny("roberta"), tiny.__wrapped__("roberta")
    other.kept.limit = 0
    method = FeatureExtraction(steps=12)
    kept, anew = (method.fit(one, TASK, toy_prompt()).score(one, TASK.test).detach() for one in (lm, other))
    torch.testing.assert_close(kept, anew, atol=1e-5, rtol=1e-5)


def test_the_last_layer_alone_is_a_plain_head() -> None:
    tuned = FeatureExtraction(steps=2, layers="last").fit(tiny("bert"), TASK, toy_prompt())
    assert numbers(tuned) == {"head": 2 * 33}
    assert numbers(FeatureExtraction(steps=2).fit(tiny("bert"), TASK, toy_prompt())) == {"head": 2 * 33 + 3 + 1}


# child-tuning


def signed(prompt: Prompt, lm: Any, batch: Batch) -> torch.Tensor:
    """A loss whose gradient on the first entry of one weight is +1 or -1 by the example's place."""
    weight = next(iter(prompt.trainable()["weights"].parameters())).flatten()[0]
    return torch.stack([weight * (1 if at % 2 == 0 else -1) for at in batch.indices])


def test_information_depends_on_what_is_squared_together() -> None:
    lm = tiny("bert")
    prompt = toy_prompt().plus(weights=full(lm))
    before = fingerprint(lm)
    apart, together = (
        fisher(prompt, lm, TASK.train[:2], signed, part="weights", batch=size, seed=0, clip=None)[0] for size in (1, 2)
    )
    assert apart.flatten()[0].item() == 1.0
    assert together.flatten()[0].item() == 0.0
    assert apart.flatten()[1:].sum().item() == 0.0  # zero where no gradient goes
    found = fisher(prompt, lm, TASK.train, nll, part="weights", batch=8, seed=0)
    parameters = list(prompt.trainable()["weights"].parameters())
    assert all(bool((one >= 0).all()) and one.shape == of.shape for one, of in zip(found, parameters, strict=True))
    assert all(one.grad is None for one in parameters)
    assert fingerprint(lm) == before


def test_a_whole_child_is_pattern_tuning() -> None:
    lm = tiny("bert")
    settings: dict[str, Any] = {"steps": 5, "lr": 1e-3, "weight_decay": 0.01}
    plain = PatternTuning(**settings).fit(lm, TASK, toy_prompt()).parts["weights"].tensors()
    for mode in ("F", "D"):
        child = ChildTuning(mode=mode, share=1.0, **settings).fit(lm, TASK, toy_prompt()).parts["weights"]
        assert isinstance(child, Values)
        assert all(torch.equal(one, plain[name]) for name, one in child.tensors().items())


@pytest.mark.parametrize("decay", [True, False])
def test_what_is_no_child_stays_or_decays_with_the_schedule(decay: bool) -> None:
    lm = tiny("bert")
    steps, lr, wd = 4, 1e-2, 0.5
    masks = {name: torch.zeros(one.shape) for name, one in lm.parameters.items() if ".layer." in name}
    prompt = toy_prompt().plus(weights=Child(full(lm), masks=masks, decay=decay))
    optim = Optim(lr=lr, weight_decay=wd, schedule="linear")
    tuned = tune(prompt, lm, [Term(TASK.train, nll)], optim=optim, steps=steps, seed=0, flat=None)
    left = math.prod(1 - lr * (1 - at / steps) * wd for at in range(steps))
    for name, one in lm.parameters.items():
        found = tuned.parts["weights"].tensors()[f"value/{name}"]
        if name not in masks:
            assert not torch.equal(found, one), name  # embeddings and head are trained whole
        elif decay and one.dim() > 1:
            torch.testing.assert_close(found, one * left)
        else:
            assert torch.equal(found, one), name


def test_the_order_is_clip_then_mask() -> None:
    """SGD at rate 1: what moves is the gradient, clipped as a whole before it is masked."""
    lm = tiny("bert")
    optim = Optim(kind="sgd", lr=1.0, clip=1e-3)
    names = [name for name in lm.parameters if ".layer." in name]

    def moved(part: nn.Module) -> dict[str, torch.Tensor]:
        tuned = tune(toy_prompt().plus(weights=part), lm, [Term(TASK.train, nll)], optim=optim, steps=1, seed=0)  # type: ignore[arg-type]
        got = {name.removeprefix("value/"): one for name, one in tuned.parts["weights"].tensors().items()}
        return {name: got[name] - lm.parameters[name] for name in names}

    whole = moved(full(lm))
    some = moved(Child(full(lm), masks={name: (lm.parameters[name] > 0) for name in names}))
    for name in names:
        torch.testing.assert_close(some[name], whole[name] * (lm.parameters[name] > 0), atol=1e-8, rtol=0)


def test_a_child_resumes_to_the_same_bits(tmp_path: Any) -> None:
    lm = tiny("roberta")
    method = ChildTuning(mode="F", share=0.5, steps=6, batch=4)
    whole = method.fit(lm, TASK, toy_prompt())
    asked = iter([False] * 3 + [True] * 9)
    with pytest.raises(Exception, match="stopped: cancelled"):
        method.fit(lm, TASK, toy_prompt(), run=Run(tmp_path / "run", cancelled=lambda: next(asked)))
    assert method.fit(lm, TASK, toy_prompt(), run=Run(tmp_path / "run")) == whole


# diff pruning


def test_diff_pruning_keeps_as_many_as_its_budget(tmp_path: Any) -> None:
    lm = tiny("gpt2")
    entries = sum(one.numel() for one in lm.parameters.values())
    tuned = DiffPruning(share=0.01, steps=4, fixed_steps=3).fit(lm, TASK, toy_prompt())
    assert set(tuned.parts) == {"diff"}
    assert numbers(tuned) == {"diff": math.floor(0.01 * entries)}
    assert tuned.history[-1].figures["trained"] == math.floor(0.01 * entries)
    save(tuned, tmp_path / "saved")
    stored = (tmp_path / "saved" / "parts.safetensors").stat().st_size
    assert stored < 8 * 0.01 * entries + 8000  # a number and a value each, and names
    with torch.no_grad():
        loaded = load(tmp_path / "saved")
        assert torch.equal(loaded.score(lm, TASK.test), tuned.score(lm, TASK.test))


def test_the_third_stage_moves_what_was_kept_alone() -> None:
    lm = tiny("bert")
    two = DiffPruning(share=0.01, steps=4, fixed_steps=1, fixed_lr=1e-12).fit(lm, TASK, toy_prompt())
    three = DiffPruning(share=0.01, steps=4, fixed_steps=5, fixed_lr=1e-2).fit(lm, TASK, toy_prompt())
    before, after = two.parts["diff"].tensors(), three.parts["diff"].tensors()
    assert before.keys() == after.keys()
    assert all(torch.equal(one, after[name]) for name, one in before.items() if name.startswith("index/"))
    assert any(not torch.equal(one, after[name]) for name, one in before.items() if name.startswith("values/"))
    other = DiffPruning(share=0.01, steps=4, fixed_steps=1, fixed_lr=1e-12, restart="w", alpha=0.5)
    jump, stay = (
        replace(other, restart=how).fit(lm, TASK, toy_prompt()).parts["diff"].tensors() for how in ("w", "delta")
    )
    assert any(
        not torch.allclose(one, jump[name], atol=1e-9) for name, one in stay.items() if name.startswith("values/")
    )


def test_at_too_high_a_price_nothing_is_left() -> None:
    dear = DiffPruning(share=0.01, steps=20, fixed_steps=1, price=1.0, alpha=-4.0, gate_lr=1.0)
    lm = tiny("bert")
    with pytest.warns(UserWarning, match="only 0 entries differ at all"):
        tuned = dear.fit(lm, TASK, toy_prompt())
    assert tuned.parts["diff"].tensors() == {}
    with torch.no_grad():
        assert torch.equal(tuned.score(lm, TASK.test), toy_prompt().score(lm, TASK.test))


def test_the_head_is_dense_and_has_no_price() -> None:
    tuned = DiffPruning(share=0.01, steps=3, fixed_steps=2, answer="head").fit(tiny("bert"), TASK, toy_prompt())
    assert set(tuned.parts) == {"head", "diff"}
    assert numbers(tuned)["head"] == 2 * 33
    assert not any(name.startswith("values/head") for name in tuned.parts["diff"].tensors())


def test_diff_pruning_goes_on_where_it_was_stopped(tmp_path: Any) -> None:
    lm = tiny("roberta")
    method = DiffPruning(share=0.01, steps=4, fixed_steps=4)
    whole = method.fit(lm, TASK, toy_prompt())
    for stop in (2, 3):  # in the first stage, and in the third
        asked = iter([False] * stop + [True] * 9)
        with pytest.raises(Exception, match="stopped: cancelled"):
            method.fit(lm, TASK, toy_prompt(), run=Run(tmp_path / "run", cancelled=lambda asked=asked: next(asked)))
    assert method.fit(lm, TASK, toy_prompt(), run=Run(tmp_path / "run")) == whole


LEARNING: tuple[tuple[str, float, Any], ...] = (  # of what is frozen, matrices large enough for words to be heard
    ("bert", 6.0, BitFit(steps=40, lr=1e-2)),
    ("llama", 1.0, LoRA(steps=40, lr=2e-2)),
    ("gpt2", 6.0, IA3(steps=40, lr=5e-2)),
    ("bert", 6.0, AdapterTuning(width=8, steps=40, lr=1e-2, answer="words")),
    ("bert", 1.0, ChildTuning(steps=80, lr=2e-3)),
    ("bert", 1.0, DiffPruning(share=0.05, steps=50, fixed_steps=30, lr=3e-3, fixed_lr=1e-2)),
    ("t5", 1.0, FeatureExtraction(steps=150)),
)


@pytest.mark.parametrize(("family", "scale", "method"), LEARNING, ids=lambda one: getattr(one, "name", one))
def test_learns_a_toy_task(family: str, scale: float, method: Any) -> None:
    lm = tiny(family, scale=scale)
    assert accuracy(toy_prompt(), lm) < 0.6
    assert accuracy(method.fit(lm, TASK, toy_prompt()), lm) > 0.7


def test_fine_tuning_and_feature_extraction_take_the_same_prompt() -> None:
    """The paper's comparison: one switch."""
    lm = tiny("bert")
    tuned, extracted = (one.fit(lm, TASK, toy_prompt()) for one in (FineTuning(steps=1), FeatureExtraction(steps=1)))
    assert (tuned.template, tuned.labels) == (extracted.template, extracted.labels)
