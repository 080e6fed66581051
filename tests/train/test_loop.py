import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.train import small
from tests.train.parts import Gated
from torch import Tensor

from promptatlas.data.example import Example
from promptatlas.errors import ArtifactError, NeedsError, PromptAtlasError, SettingError
from promptatlas.lm.lm import LM
from promptatlas.parts.vectors import Vectors
from promptatlas.prompting import Prompt
from promptatlas.train.fit import is_flat
from promptatlas.train.loop import Batch, Term, tune
from promptatlas.train.loss import nll
from promptatlas.train.optim import Optim
from promptatlas.train.run import Cancelled, Event, Run

RATE = Optim(lr=0.05)
PLAIN = Optim(kind="sgd", lr=1.0)  # in proportion to the gradient: nothing blows rounding up


def tuned(prompt: Prompt | None = None, **settings: Any) -> Prompt:
    defaults = {"terms": [Term(small.examples(), nll, batch=4)], "optim": RATE, "steps": 5, "seed": 0}
    return tune(prompt or small.prompt(), small.lm(), **{**defaults, **settings})


def measured(**settings: Any) -> tuple[Prompt, dict[str, list[float]]]:
    """A tuned prompt, and each figure it told, in order."""
    heard: list[Event] = []
    prompt = tuned(**settings, run=Run(listen=heard.append))
    names = {name for event in heard for name in event.figures}
    return prompt, {name: [event.figures[name] for event in heard if name in event.figures] for name in names}


def pulls(target: Tensor) -> Callable[[Prompt, LM, Batch], Tensor]:
    """A loss without a model: how far the part `soft` is from a target, for every example."""

    def loss(prompt: Prompt, lm: LM, batch: Batch) -> Tensor:
        return (prompt.parts["soft"].weight - target).square().sum().expand(len(batch.examples))

    return loss


def test_training_makes_the_loss_smaller() -> None:
    ups = [one for one in small.examples() if one.target == "up"]
    _, told = measured(prompt=small.prompt(16), steps=30, optim=Optim(lr=0.3), terms=[Term(ups, nll, batch=3)])
    assert told["loss"][-1] < told["loss"][0] - 0.02  # a random model: vectors move its answer only so far


def test_one_step_of_sgd_equals_the_gradient_by_hand() -> None:
    prompt, lm = small.prompt(), small.lm()
    tuned_by = tuned(optim=Optim(kind="sgd", lr=0.5, clip=None), steps=1, terms=[Term(small.examples(4), nll, 2.0, 4)])
    mine = small.prompt()
    (2 * -mine.score(lm, small.examples(4))[range(4), [0, 1, 0, 1]].mean()).backward()
    expected = prompt.parts["soft"].weight - 0.5 * mine.parts["soft"].weight.grad
    assert torch.allclose(tuned_by.parts["soft"].weight, expected, atol=1e-7)


def test_the_gradient_is_clipped() -> None:
    start = small.prompt()
    after = tuned(
        start,
        optim=Optim(kind="sgd", lr=1.0, clip=0.01),
        steps=1,
        terms=[Term(small.examples(), pulls(torch.tensor(9.0)))],
    )
    assert (after.parts["soft"].weight - start.parts["soft"].weight).norm().item() == pytest.approx(0.01, rel=1e-4)


def test_terms_are_summed_by_their_weights() -> None:
    one, other = torch.tensor(1.0), torch.tensor(-1.0)
    both = [Term(small.examples(), pulls(one), 3.0), Term(small.examples(), pulls(other), 1.0)]
    after = tuned(terms=both, optim=Optim(lr=0.1, schedule="linear"), steps=300, flat=None)
    assert torch.allclose(after.parts["soft"].weight, torch.tensor(0.5), atol=1e-2)


def test_the_prompt_given_and_the_model_stay_as_they_are() -> None:
    prompt, lm = small.prompt(), small.lm()
    weights, vectors = prompt.parts["soft"].weight.detach().clone(), lm.vectors.clone()
    prompt.parts["soft"].train()
    after = tuned(prompt, steps=2)
    assert torch.equal(prompt.parts["soft"].weight, weights)
    assert prompt.parts["soft"].weight.grad is None
    assert prompt.parts["soft"].training
    assert torch.equal(lm.vectors, vectors)
    assert not torch.equal(after.parts["soft"].weight, weights)


def test_parts_come_back_out_of_training_mode_without_gradients_and_trainable_as_before() -> None:
    gated = Gated(small.lm().vectors[3:5])
    prompt = small.prompt().lead(gate=gated)
    prompt.parts["soft"].weight.requires_grad_(True)
    part = tuned(prompt, steps=2).parts["gate"]
    assert not part.training
    assert part.weight.grad is None
    assert part.weight.requires_grad
    assert part.weight.device.type == "cpu"


def test_the_seed_alone_fixes_the_outcome() -> None:
    gated = small.prompt().lead(gate=Gated(small.lm().vectors[3:5]))
    outcomes = []
    for seed, noise in ((0, 1), (0, 2), (1, 1)):
        torch.manual_seed(noise)
        outcomes.append(tuned(gated, seed=seed).parts["gate"].weight)
    assert torch.equal(outcomes[0], outcomes[1])
    assert not torch.equal(outcomes[0], outcomes[2])


def test_the_global_generator_is_left_as_it_was() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    tuned(small.prompt().lead(gate=Gated(small.lm().vectors[3:5])), steps=2)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("micro", [1, 3, 5])
def test_micro_batches_change_nothing_but_rounding(micro: int) -> None:
    terms = [Term(small.examples(11), nll, batch=7)]
    split, whole = (tuned(terms=terms, optim=PLAIN, micro=some) for some in (micro, None))
    assert torch.allclose(small.weight(split), small.weight(whole), atol=1e-6)


def test_what_examples_draw_for_themselves_does_not_depend_on_micro_batches() -> None:
    def noisy(prompt: Prompt, lm: LM, batch: Batch) -> Tensor:
        noise = torch.stack([torch.rand((), generator=batch.own(at)) for at in range(len(batch.examples))])
        return nll(prompt, lm, batch) * noise

    terms = [Term(small.examples(), noisy, batch=6)]
    split, whole = (tuned(terms=terms, optim=PLAIN, micro=some) for some in (2, None))
    assert torch.allclose(small.weight(split), small.weight(whole), atol=1e-6)


def test_a_whole_batch_is_never_split() -> None:
    sizes = []

    def counted(prompt: Prompt, lm: LM, batch: Batch) -> Tensor:
        sizes.append(len(batch.examples))
        return nll(prompt, lm, batch)

    tuned(
        terms=[Term(small.examples(), counted, batch=6, whole=True), Term(small.examples(), counted, batch=6)],
        steps=1,
        micro=4,
    )
    assert sizes == [6, 4, 2]


def test_batches_say_which_examples_they_hold_at_which_step() -> None:
    seen: list[tuple[int, tuple[int, ...]]] = []

    def noted(prompt: Prompt, lm: LM, batch: Batch) -> Tensor:
        assert batch.examples == tuple(small.examples()[at] for at in batch.indices)
        seen.append((batch.step, batch.indices))
        return nll(prompt, lm, batch)

    tuned(terms=[Term(small.examples(), noted, batch=4)], steps=3)
    assert [step for step, _ in seen] == [0, 1, 2]
    assert sorted(at for _, places in seen for at in places) == list(range(12))


def test_begin_is_called_at_every_step_and_a_penalty_is_added() -> None:
    part = Gated(small.lm().vectors[3:5], price=0.5)
    prompt, told = measured(prompt=small.prompt().lead(gate=part), steps=3)
    assert prompt.parts["gate"].begun == [0, 1, 2]
    assert part.begun == []
    _, free = measured(prompt=small.prompt().lead(gate=Gated(small.lm().vectors[3:5])), steps=3)
    assert told["loss"][0] - free["loss"][0] == pytest.approx(0.5 * part.weight.square().sum().item(), rel=1e-4)


def test_a_mapping_moves_each_part_its_own_way_and_leaves_the_rest() -> None:
    vectors = small.lm().vectors
    prompt = small.prompt().lead(first=Vectors(vectors[20:22])).lead(second=Vectors(vectors[30:32]))
    after = tuned(prompt, optim={"soft": RATE, "first": Optim(lr=1e-9)}, steps=1)
    moved = {name: (small.weight(after, name) - small.weight(prompt, name)).abs().max().item() for name in prompt.parts}
    assert moved["soft"] > 1e-2
    assert 0 <= moved["first"] < 1e-7
    assert after.parts["second"] is prompt.parts["second"]
    assert prompt.parts["second"].weight.grad is None


def test_the_best_parts_on_dev_are_kept() -> None:
    def away(prompt: Prompt, lm: LM, batch: Batch) -> Tensor:
        return -nll(prompt, lm, batch)

    worse = {"terms": [Term(small.examples(), away, batch=12)], "optim": Optim(lr=0.3), "steps": 12, "every": 3}
    best, told = measured(**worse, dev=small.examples(), keep="best")
    last, _ = measured(**worse)
    ranked = [(accuracy, -loss) for accuracy, loss in zip(told["dev_accuracy"], told["dev_loss"], strict=True)]
    assert ranked.index(max(ranked)) < len(ranked) - 1
    lm = small.lm()
    right = [best.score(lm, [one]).argmax().item() == at % 2 for at, one in enumerate(small.examples())]
    assert sum(right) / 12 == pytest.approx(max(ranked)[0])
    loss = nll(best, lm, Batch(small.examples(), tuple(range(12)), 0, torch.Generator())).mean().item()
    assert loss == pytest.approx(-max(ranked)[1], abs=1e-5)
    assert not torch.equal(small.weight(best), small.weight(last))


def test_dev_is_measured_every_so_often_and_at_the_end() -> None:
    heard: list[Event] = []
    tuned(steps=7, every=3, dev=small.examples(2), run=Run(listen=heard.append))
    assert [event.done for event in heard if event.what == "dev"] == [3, 6, 7]
    assert [event.done for event in heard if event.what == "tune"] == [1, 2, 3, 4, 5, 6, 7]


def test_measuring_on_dev_changes_no_step() -> None:
    prompt = small.prompt().lead(gate=Gated(small.lm().vectors[3:5]))
    assert torch.equal(small.weight(tuned(prompt)), small.weight(tuned(prompt, dev=small.examples(), every=1)))


def test_training_stops_when_dev_has_not_improved_for_long_enough() -> None:
    still = Optim(lr=1e-12)
    _, told = measured(steps=50, every=2, patience=3, dev=small.examples(4), optim=still)
    assert len(told["loss"]) == 8


def test_where_targets_are_no_labels_the_first_terms_loss_measures() -> None:
    texts = [Example({"text": "the cat"}, None, str(at)) for at in range(3)]
    term = Term(small.examples(), pulls(torch.tensor(2.0)))
    _, told = measured(terms=[term], dev=texts, keep="best", every=2, steps=4, optim=Optim(lr=0.1))
    assert told["dev_accuracy"] == [0, 0]
    assert told["dev_loss"][1] < told["dev_loss"][0]


@pytest.mark.parametrize(
    ("means", "flat", "expected"),
    [
        ([1.0, 0.5, 0.5, 0.5, 0.5], 1e-3, True),
        ([1.0, 0.5, 0.5, 0.5], 1e-3, False),
        ([1.0, 0.5, 0.6, 0.5, 0.498], 1e-3, False),
        ([1.0, 0.5, 0.6, 0.5, 0.4995], 1e-3, True),
        ([1.0, 1e-4, 5e-5, 2e-5, 1e-5], 1e-3, True),
        ([1.0, 1.0, 1.0, 1.0, 1.0, 0.9], 1e-3, False),
        ([1.0, 1.0, 1.0, 1.0, 1.0], None, False),
        ([], 1e-3, False),
    ],
)
def test_flat(means: list[float], flat: float | None, expected: bool) -> None:
    assert is_flat(means, flat) is expected


def test_training_stops_when_the_loss_is_flat_and_not_before() -> None:
    term = Term(small.examples(), pulls(torch.tensor(1.0)), batch=1)
    flat = {"terms": [term], "optim": Optim(kind="sgd", lr=0.25, clip=None), "steps": 700}
    _, told = measured(**flat)
    assert len(told["loss"]) == 500
    _, told = measured(**flat, flat=None)
    assert len(told["loss"]) == 700


def test_figures_say_what_was_measured() -> None:
    run = Run()
    tuned(run=run, dev=small.examples(4))
    assert run.figures["steps"] == 5
    assert run.figures["trained"] == 4 * 32
    assert run.figures["seconds"] > 0
    assert {"loss", "dev_loss", "dev_accuracy"} <= run.figures.keys()
    tuned(run=run)
    assert run.figures.keys() == {"steps", "loss", "seconds", "trained"}


def test_the_rate_follows_the_schedule() -> None:
    _, told = measured(steps=4, optim=Optim(lr=0.2, schedule="linear"))
    assert told["lr"] == pytest.approx([0.2, 0.15, 0.1, 0.05])


def test_a_prompt_without_trainable_parts_is_refused() -> None:
    bare = replace(small.prompt(), parts={})
    with pytest.raises(NeedsError, match="there is no part to train in this prompt"):
        tuned(bare)


def test_a_loss_that_is_no_number_stops_and_says_where() -> None:
    def broken(prompt: Prompt, lm: LM, batch: Batch) -> Tensor:
        return nll(prompt, lm, batch) * (math.nan if batch.step == 2 else 1.0)

    with pytest.raises(PromptAtlasError) as caught:
        tuned(terms=[Term(small.examples(), broken)])
    hint = "hint: take a smaller `lr`, or clip the gradient: `Optim(clip=1.0)`"
    assert str(caught.value) == f"the training loss is nan at step 2 (lr 0.05)\n\n{hint}"


def test_a_loss_no_part_touches_is_an_error() -> None:
    with pytest.raises(SettingError, match="no trained part touches the loss"):
        tuned(terms=[Term(small.examples(), lambda prompt, lm, batch: torch.ones(len(batch.examples)))])


def test_a_loss_that_averages_its_examples_is_an_error() -> None:
    with pytest.raises(
        SettingError, match=r"gave the shape \[\] for 8 examples\n\nhint: a loss gives one number an example"
    ):
        tuned(terms=[Term(small.examples(), lambda prompt, lm, batch: nll(prompt, lm, batch).mean())])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"terms": []}, "there is nothing to train on: no term\n\nhint: `[Term(task.train, nll)]`"),
        ({"terms": [Term((), nll)]}, "term 0 has no examples\n\nhint: give it some, or leave it out"),
        ({"steps": 0}, "`steps` is 0\n\nhint: it is 1 or more"),
        ({"micro": 0}, "`micro` is 0\n\nhint: it is 1 or more"),
        ({"terms": [Term(small.examples(1), nll, batch=0)]}, "`batch` is 0\n\nhint: it is 1 or more"),
        ({"keep": "best"}, "keep='best' needs dev examples\n\nhint: give `dev`"),
        ({"patience": 2}, "`patience` needs dev examples\n\nhint: give `dev`"),
        (
            {"optim": {"sofd": RATE}},
            "`optim` names the part `sofd`, which can't be trained here\n\nhint: did you mean `soft`?",
        ),
        ({"optim": {}}, "`optim` names no part\n\nhint: there are `soft`"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingError) as caught:
        tuned(**settings)
    assert str(caught.value) == said


def after(calls: int) -> Callable[[], bool]:
    """False this many times, then true."""
    left = iter(range(calls))
    return lambda: next(left, None) is None


@pytest.mark.parametrize("kind", ["adamw", "adafactor", "sgd"])
@pytest.mark.parametrize("stop", [1, 4, 5, 7])
def test_a_fit_that_was_stopped_goes_on_to_the_same_bits(kind: str, stop: int, tmp_path: Path) -> None:
    prompt = small.prompt().lead(gate=Gated(small.lm().vectors[3:5], price=0.1))
    settings = {
        "optim": {"soft": Optim(kind=kind, lr=0.1, schedule="linear", momentum=0.9), "gate": RATE},
        "steps": 9, "dev": small.examples(4), "every": 2, "keep": "best",
    }  # fmt: skip
    whole = Run()
    expected = tuned(prompt, **settings, run=whole)
    with pytest.raises(Cancelled) as caught:
        tuned(prompt, **settings, run=Run(tmp_path, cancelled=after(stop)))
    assert caught.value.message == f"stopped: cancelled (tune, {stop} of 9)"
    run, steps = Run(tmp_path), []
    run.listen = lambda event: steps.append(event.done) if event.what == "tune" else None
    again = tuned(prompt, **settings, run=run)
    assert steps == list(range(stop + 1, 10))
    assert all(torch.equal(small.weight(again, name), small.weight(expected, name)) for name in ("soft", "gate"))
    assert {**run.figures, "seconds": 0} == {**whole.figures, "seconds": 0}


def test_a_fit_that_is_done_is_not_done_again(tmp_path: Path) -> None:
    first = tuned(run=Run(tmp_path))
    heard: list[Event] = []
    run = Run(tmp_path, listen=heard.append)
    assert torch.equal(small.weight(tuned(run=run)), small.weight(first))
    assert heard == []
    assert run.figures["steps"] == 5


def test_each_tune_of_a_fit_has_its_own_checkpoint(tmp_path: Path) -> None:
    def fit() -> Prompt:
        run = Run(tmp_path)
        return tuned(tuned(run=run), seed=1, run=run)

    assert torch.equal(small.weight(fit()), small.weight(fit()))


def test_a_checkpoint_of_other_settings_is_refused(tmp_path: Path) -> None:
    tuned(run=Run(tmp_path))
    changed = {"seed": 1, "steps": 6, "terms": [Term(small.examples(5), nll)], "optim": Optim(lr=0.1), "flat": None}
    for name, value in changed.items():
        with pytest.raises(ArtifactError, match=f"of a fit with other settings: `{name}`"):
            tuned(run=Run(tmp_path), **{name: value})
    with pytest.raises(ArtifactError, match="other settings: `prompt`"):
        tuned(small.prompt(3), run=Run(tmp_path))
    with pytest.raises(ArtifactError, match="other settings: `dev`"):
        tuned(run=Run(tmp_path), dev=small.examples(2))
    tuned(run=Run(tmp_path), micro=2)


def test_checkpoints_are_written_every_so_many_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []
    monkeypatch.setattr("promptatlas.train.fit.write", lambda folder, one: written.append(one.progress.step))
    tuned(steps=7, run=Run(tmp_path, steps=3, seconds=1e9))
    assert written == [3, 6, 7]
    written.clear()
    tuned(steps=3, run=Run(tmp_path, seconds=0.0))
    assert written == [1, 2, 3]


def test_a_budget_stops_training_and_a_larger_one_goes_on(tmp_path: Path) -> None:
    with pytest.raises(Cancelled, match=r"the budget of 1 operations is used up \(tune, 1 of 5\)"):
        tuned(run=Run(tmp_path, budget=1.0))
    again = tuned(run=Run(tmp_path, budget=1e12))
    assert torch.equal(small.weight(again), small.weight(tuned()))
