"""Methods that train: what each trains, what it leaves, and that it learns (sheets' invariants)."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

from promptatlas.data.example import Example
from promptatlas.errors import ArtifactError, CannotAttach, NeedsError, SettingError
from promptatlas.lm.lm import LM
from promptatlas.methods.contextual_calibration import ContextualCalibration
from promptatlas.methods.fine_tuning import FineTuning
from promptatlas.methods.in_context import InContext
from promptatlas.methods.p_tuning_v2 import PTuningV2
from promptatlas.methods.pattern_tuning import PatternTuning
from promptatlas.methods.prompt_tuning import PromptTuning
from promptatlas.parts.prefix import normal
from promptatlas.parts.vectors import Vectors
from promptatlas.prompting import Ensemble, Prompt
from promptatlas.testing.tasks import toy, toy_prompt
from promptatlas.testing.tiny import tiny
from promptatlas.train.needs import Method

TASK = toy()
QUICK: Sequence[Method] = (
    PromptTuning(length=4, steps=2),
    PTuningV2(length=3, steps=2, answer="words"),
    PTuningV2(length=3, steps=2, answer="head"),
    PatternTuning(steps=2),
    FineTuning(steps=2),
)


def accuracy(prompt: Prompt | Ensemble, lm: LM, examples: Sequence[Example]) -> float:
    answers = prompt.predict(lm, examples)
    return sum(answer.value == one.target for answer, one in zip(answers, examples, strict=True)) / len(examples)


def names(prompt: Prompt) -> dict[str, int]:
    return {name: sum(one.numel() for one in part.parameters()) for name, part in prompt.trainable().items()}


def test_prompt_tuning_trains_length_times_width_numbers() -> None:
    assert names(PromptTuning(length=4, steps=2).fit(tiny("bert"), TASK, toy_prompt())) == {"soft": 4 * 32}
    assert names(PromptTuning(length=4, steps=2).fit(tiny("albert"), TASK, toy_prompt())) == {"soft": 4 * 16}


def test_p_tuning_v2_trains_two_times_layers_times_width_numbers_a_position_and_a_head() -> None:
    lm = tiny("bert")
    assert names(PTuningV2(length=3, steps=2, answer="words").fit(lm, TASK, toy_prompt())) == {"prefix": 3 * 2 * 2 * 32}
    assert names(PTuningV2(length=3, steps=2, answer="head").fit(lm, TASK, toy_prompt())) == {
        "prefix": 3 * 2 * 2 * 32,
        "head": (32 + 1) * 2,
    }


def test_a_prefix_under_grouped_attention_has_the_heads_of_keys() -> None:
    prompt = PTuningV2(length=3, steps=2, answer="words").fit(tiny("llama"), TASK, toy_prompt())
    assert names(prompt) == {"prefix": 3 * 2 * 2 * 16}  # 2 of 4 heads have keys of their own


def test_tuning_moves_what_it_trains_and_nothing_else() -> None:
    lm = tiny("bert")
    before = {name: one.clone() for name, one in lm.parameters.items()}
    for method in QUICK:
        tuned = method.fit(lm, TASK, toy_prompt())
        assert isinstance(tuned, Prompt)
        for name, one in lm.parameters.items():
            assert torch.equal(one, before[name]), (method, name)
            assert one.grad is None
        assert tuned.history[-1].method == method.name
        assert all(not one.training for one in tuned.trainable().values())


def test_fine_tuning_moves_every_layer() -> None:
    lm = tiny("bert")
    tuned = FineTuning(steps=3).fit(lm, TASK, toy_prompt())
    weights = tuned.parts["weights"].tensors()
    moved = {name for name, one in lm.parameters.items() if not torch.equal(one, weights[name])}
    still = {name for name in lm.parameters if name not in moved}
    assert all("predictions" in name or "word_embeddings" in name for name in still), still  # the head isn't read
    assert any("layer.0." in name for name in moved)
    assert any("layer.1." in name for name in moved)


def test_pattern_tuning_moves_every_layer_and_the_head() -> None:
    lm = tiny("bert")
    weights = PatternTuning(steps=3).fit(lm, TASK, toy_prompt()).parts["weights"].tensors()
    still = {name for name, one in lm.parameters.items() if torch.equal(one, weights[name])}
    assert still == set()


def test_fine_tuning_reads_the_plain_fields() -> None:
    two = replace(toy_prompt(), template=toy_prompt().template.parse("{a} so {mask} {b}"))
    task = replace(
        TASK, fields=("a", "b"), train=tuple(replace(one, fields={"a": "cat", "b": "rain"}) for one in TASK.train)
    )
    assert str(FineTuning(steps=1).fit(tiny("bert"), task, two).template) == "{a}{sep}{b}"


LEARNING: Sequence[tuple[str, Method]] = (
    ("t5", PromptTuning(length=4, steps=60, lr=0.3)),  # what few vectors can do to a random model is little, but in T5
    ("bert", PTuningV2(length=4, steps=120, lr=0.1, answer="words")),
    ("gpt2", PTuningV2(length=4, steps=60, lr=0.1, answer="head")),
    ("bert", PatternTuning(steps=40, lr=1e-3)),
    ("t5", FineTuning(steps=40, lr=1e-3)),
)


@pytest.mark.parametrize(("family", "method"), LEARNING, ids=lambda one: getattr(one, "name", one))
def test_learns_a_toy_task(family: str, method: Method) -> None:
    lm = tiny(family)
    with torch.no_grad():
        before = float(-toy_prompt().score(lm, TASK.train).gather(1, _right(TASK.train)).mean())
    tuned = method.fit(lm, TASK, toy_prompt())
    with torch.no_grad():
        after = float(-tuned.score(lm, TASK.train).gather(1, _right(TASK.train)).mean())
    assert after < 0.9 * before, (before, after)
    assert accuracy(tuned, lm, TASK.train) > 0.7


def _right(examples: Sequence[Example]) -> torch.Tensor:
    return torch.tensor([[TASK.labels.index(str(one.target))] for one in examples])


def test_training_starts_from_the_part_that_is_there() -> None:
    lm = tiny("bert")
    start = Vectors(torch.randn(5, 32, generator=torch.Generator().manual_seed(7)))
    prompt = toy_prompt().lead(soft=start)
    tuned = PromptTuning(length=2, steps=1, lr=1e-6).fit(lm, TASK, prompt)
    torch.testing.assert_close(tuned.parts["soft"].tensors()["weight"], start.weight.detach(), atol=1e-5, rtol=0)


def test_a_soft_prompt_stays_where_the_template_puts_it() -> None:
    prompt = replace(toy_prompt(), template=toy_prompt().template.parse("{text} {@soft} It was {mask}"))
    tuned = PromptTuning(length=3, steps=1).fit(tiny("bert"), TASK, prompt)
    assert str(tuned.template) == "{text} {@soft} It was {mask}"


def test_no_vectors_and_no_prefix_are_the_prompt_itself() -> None:
    lm = tiny("gpt2")
    plain = toy_prompt().score(lm, TASK.test)
    torch.testing.assert_close(toy_prompt().lead(soft=Vectors(torch.zeros(0, 32))).score(lm, TASK.test), plain)
    torch.testing.assert_close(toy_prompt().plus(prefix=normal(lm, 0, seed=0)).score(lm, TASK.test), plain)


def test_trains_its_own_part_and_leaves_another_method_s() -> None:
    lm = tiny("bert")
    soft = PromptTuning(length=2, steps=2).fit(lm, TASK, toy_prompt())
    for method in (PatternTuning(steps=2), PTuningV2(length=2, steps=2, answer="words")):
        chained = method.fit(lm, TASK, soft)
        assert torch.equal(chained.parts["soft"].tensors()["weight"], soft.parts["soft"].tensors()["weight"])
        assert [step.method for step in chained.history] == ["prompt_tuning", method.name]


def test_every_training_method_drops_a_calibration() -> None:
    lm = tiny("bert")
    calibrated = ContextualCalibration().fit(lm, TASK, toy_prompt())
    assert all(method.fit(lm, TASK, calibrated).calibration == () for method in QUICK)


def test_fine_tuning_starts_afresh_whatever_was_there() -> None:
    shown = InContext(k=2).fit(tiny("gpt2"), TASK, toy_prompt())
    soft = PromptTuning(length=2, steps=2).fit(tiny("gpt2"), TASK, shown)
    assert FineTuning(steps=1).fit(tiny("bert"), TASK, soft) == FineTuning(steps=1).fit(
        tiny("bert"), TASK, toy_prompt()
    )


def test_a_prompt_learned_on_one_model_is_not_carried_to_another_by_any_method() -> None:
    soft = PromptTuning(length=2, steps=2).fit(tiny("gpt2"), TASK, toy_prompt())
    for method in (InContext(k=2), PatternTuning(steps=1), ContextualCalibration()):
        with pytest.raises(ArtifactError, match="learned on `tiny-gpt2`"):
            method.fit(tiny("bert"), TASK, soft)


def test_labels_start_as_they_are_read_at_the_slot() -> None:
    lm = tiny("roberta")
    start = PromptTuning(length=2, steps=1, lr=1e-9).fit(lm, TASK, toy_prompt()).parts["soft"].tensors()["weight"]
    read = [lm.word(word, toy_prompt().template.before()) for word in ("good", "bad")]
    torch.testing.assert_close(start, torch.stack([lm.vectors[list(ids)].mean(0) for ids in read]), atol=1e-6, rtol=0)


def test_says_what_is_wrong_before_any_work() -> None:
    with pytest.raises(SettingError, match='`text` goes with start="text"'):
        PromptTuning(text="hello").fit(tiny("bert"), TASK, toy_prompt())
    lm = tiny("bert")
    with pytest.raises(SettingError, match="160 vectors leave no room for text in a window of 160"):
        PromptTuning(length=160).fit(lm, TASK, toy_prompt())
    with pytest.raises(NeedsError) as caught:
        PTuningV2().fit(tiny("deberta-v2"), TASK, toy_prompt())
    assert str(caught.value) == (
        "`p_tuning_v2` needs a model that can do `prefix`, and `tiny-deberta-v2` can't\n\n"
        "hint: these do without: `prompt_tuning`"
    )
    with pytest.raises(NeedsError, match="needs train examples, and `toy` has none"):
        FineTuning().fit(lm, replace(TASK, train=()), toy_prompt())
    with pytest.raises(CannotAttach, match="disentangled attention"):
        normal(tiny("deberta-v2"), 2, seed=0)
