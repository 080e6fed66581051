"""GlobalE and LocalE."""

from dataclasses import replace

import pytest
import torch

from promptatlas.demos.orders import global_entropy, local_entropy, orders
from promptatlas.demos.pick import Fixed, NoDemos
from promptatlas.errors import NeedsError, SettingError
from promptatlas.lm.scripted import ScriptedLM
from promptatlas.methods.contextual_calibration import ContextualCalibration
from promptatlas.methods.entropy_order import EntropyOrder
from promptatlas.methods.in_context import InContext
from promptatlas.methods.kate import KATE
from promptatlas.prompting import Prompt
from promptatlas.testing.tasks import FILLING, TELLING, toy, toy_prompt
from promptatlas.testing.tiny import tiny

TASK = toy()
WORDS = ("It", "was", "good", "bad", *FILLING, *(word for some in TELLING.values() for word in some))


def unmoved(text: str) -> dict[str, float]:
    """What a model says that counts the words, in whatever order they are."""
    return {"good": float(len(text.split()) % 2), "bad": 0.5}


def shown(prompt: Prompt) -> tuple[str, ...]:
    assert isinstance(prompt.demos, Fixed)
    return tuple(one.key for one in prompt.demos.examples)


@pytest.mark.parametrize("by", ["global", "local"])
def test_it_is_the_order_of_most_entropy(by: str) -> None:
    lm, some = tiny("llama"), TASK.train[:4]
    start = replace(toy_prompt(), demos=Fixed(some))
    fitted = EntropyOrder(by=by, source="given").fit(lm, TASK, start)  # type: ignore[arg-type]
    kinds = [tuple(some[at] for at in order) for order in orders(some)]
    with torch.no_grad():
        shares = torch.stack([replace(start, demos=Fixed(one)).score(lm, TASK.unlabeled).exp() for one in kinds])
    entropy = global_entropy(shares) if by == "global" else local_entropy(shares)
    figures = fitted.history[-1].figures
    assert figures["entropy"] == pytest.approx(float(entropy.max()), abs=1e-4)
    assert entropy[kinds.index(fitted.demos.examples)] == pytest.approx(float(entropy.max()), abs=1e-6)  # type: ignore[attr-defined]
    assert figures["orders"] == 24
    assert sum(int(figures[f"said {label}"]) for label in TASK.labels) == figures["probes"] == 8
    order = [int(at) - 1 for at in str(figures["order"]).split()]
    assert tuple(some[at] for at in order) == fitted.demos.examples  # type: ignore[attr-defined]


def test_an_order_that_makes_no_difference_stays() -> None:
    start = replace(toy_prompt(), demos=Fixed(TASK.train[3:7]))
    fitted = EntropyOrder(source="given").fit(ScriptedLM(WORDS, unmoved, kind="causal"), TASK, start)
    assert shown(fitted) == shown(start)
    assert fitted.history[-1].figures["spread"] == 0


def test_one_demonstration_is_not_read() -> None:
    def answers(_text: str) -> dict[str, float]:
        raise AssertionError("nothing is to be read")

    start = replace(toy_prompt(), demos=Fixed(TASK.train[:1]))
    lm = ScriptedLM(WORDS, answers, kind="causal")
    assert shown(EntropyOrder(source="given").fit(lm, TASK, start)) == shown(start)
    twice = replace(toy_prompt(), demos=Fixed((TASK.train[0], replace(TASK.train[0], key="again"))))
    assert EntropyOrder(source="given").fit(lm, TASK, twice).history[-1].figures == {"orders": 1, "order": "1 2"}


def test_it_stands_between_demonstrations_and_calibration() -> None:
    lm = tiny("llama")
    first = InContext(k=3).fit(lm, TASK, toy_prompt())
    second = EntropyOrder(length=12, shortest=1).fit(lm, replace(TASK, train=(), unlabeled=()), first)
    assert second.history[-1].figures["source"] == "written"
    assert {*shown(second)} == {one.key for one in first.demos.pick(lm, TASK.test[:1])[0]}
    third = ContextualCalibration().fit(lm, TASK, second)
    assert third.demos == second.demos
    assert third.calibration
    assert not EntropyOrder(source="given").fit(lm, TASK, third).calibration


def test_what_it_needs() -> None:
    lm = tiny("gpt2")
    with pytest.raises(NeedsError, match="depend on the input"):
        EntropyOrder().fit(lm, TASK, KATE(k=2).fit(lm, TASK, toy_prompt()))
    with pytest.raises(NeedsError, match="nothing to draw them from"):
        EntropyOrder().fit(lm, replace(TASK, train=()), replace(toy_prompt(), demos=NoDemos()))
    with pytest.raises(SettingError, match="k=99"):
        EntropyOrder(k=99).fit(lm, TASK, toy_prompt())
    with pytest.raises(NeedsError, match="can't write, as it is masked"):
        EntropyOrder(source="written").fit(tiny("bert"), TASK, toy_prompt())
