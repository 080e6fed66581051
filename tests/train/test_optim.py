import numpy as np
import pytest
import torch
from torch import nn

from promptatlas.errors import SettingError
from promptatlas.train.optim import Optim


def factors(steps: int, **settings: object) -> list[float]:
    optim = Optim(lr=1.0, **settings)
    return [optim.factor(step, steps) for step in range(steps)]


def test_slanted_triangular_at_the_oracle_points() -> None:
    optim = Optim(lr=1.0, schedule="slanted")
    assert [optim.factor(step, 100) for step in (0, 10, 55, 100)] == pytest.approx([1 / 32, 1, 0.515625, 1 / 32])


@pytest.mark.parametrize("steps", [1, 2, 5, 9, 19, 109, 333])
@pytest.mark.parametrize("warmup", [None, 0.0, 0.3])
def test_slanted_triangular_stays_between_its_lowest_and_its_highest_rate(steps: int, warmup: float | None) -> None:
    rates = factors(steps, schedule="slanted", warmup=warmup)
    assert min(rates) >= 1 / 32
    assert max(rates) <= 1
    assert steps < 2 or max(rates) == 1


def test_linear_falls_from_one_to_zero_after_the_last_step() -> None:
    assert factors(4, schedule="linear") == pytest.approx([1, 0.75, 0.5, 0.25])
    assert Optim(lr=1.0, schedule="linear").factor(4, 4) == 0


def test_warm_up_rises_then_the_rest_falls() -> None:
    assert factors(8, schedule="linear", warmup=0.5) == pytest.approx([0, 0.25, 0.5, 0.75, 1, 0.75, 0.5, 0.25])
    assert factors(4, warmup=0.5) == pytest.approx([0, 0.5, 1, 1])


def test_constant_is_one() -> None:
    assert factors(3) == [1, 1, 1]


def adafactor(weights: np.ndarray, gradients: list[np.ndarray], lr: float, decay: float) -> np.ndarray:
    square = np.zeros_like(weights)
    for step, gradient in enumerate(gradients, 1):
        old = 1 - step**-0.8
        square = old * square + (1 - old) * (gradient**2 + 1e-30)
        update = gradient / np.sqrt(square)
        update /= max(1.0, np.sqrt((update**2).mean()))
        weights = weights - lr * decay * weights - lr * update
    return weights


def test_adafactor_equals_its_formula_unfactored_and_unscaled() -> None:
    draw = np.random.default_rng(0)
    start, gradients = draw.normal(size=(5, 3)), [draw.normal(size=(5, 3)) * 10**power for power in (0, 1, -2)]
    weights = nn.Parameter(torch.tensor(start))
    optimiser = Optim(kind="adafactor", lr=0.3, weight_decay=0.1).make([weights])
    for gradient in gradients:
        weights.grad = torch.tensor(gradient)
        optimiser.step()
    assert weights.detach().numpy() == pytest.approx(adafactor(start, gradients, 0.3, 0.1), abs=1e-12)


def test_the_first_step_of_adafactor_is_the_rate_whatever_the_gradient() -> None:
    weights = nn.Parameter(torch.zeros(2, 2))
    weights.grad = torch.tensor([[1e-6, -3.0], [5e4, 1.0]])
    Optim(kind="adafactor", lr=0.3).make([weights]).step()
    assert torch.allclose(weights, torch.tensor([[-0.3, 0.3], [-0.3, -0.3]]))


def test_sized_steps_are_in_proportion_to_each_weight() -> None:
    large, small, nothing = (nn.Parameter(torch.full((2, 2), size)) for size in (4.0, 0.5, 0.0))
    for one in (large, small, nothing):
        one.grad = torch.ones(2, 2)
    optimiser = Optim(lr=0.1, sized=True).make([large, small, nothing])
    optimiser.step()
    assert torch.allclose(large, torch.tensor(4.0 - 0.1 * 4.0))
    assert torch.allclose(small, torch.tensor(0.5 - 0.1 * 0.5))
    assert torch.allclose(nothing, torch.tensor(-0.1 * 1e-3))
    assert {group["lr"] for group in optimiser.param_groups} == {0.1}


@pytest.mark.parametrize("kind", ["adamw", "adafactor", "sgd"])
def test_weight_decay_leaves_biases_and_gains_alone(kind: str) -> None:
    matrix, bias = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2))
    matrix.grad, bias.grad = torch.zeros(2, 2), torch.zeros(2)
    Optim(kind=kind, lr=0.5, weight_decay=0.1).make([matrix, bias]).step()
    assert torch.allclose(matrix, torch.tensor(0.95))
    assert torch.equal(bias, torch.ones(2))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"lr": 0.0}, "`lr` is 0.0\n\nhint: it is above 0"),
        ({"lr": 1.0, "kind": "adam"}, "`kind` can't be `adam`\n\nhint: did you mean `adamw`?"),
        (
            {"lr": 1.0, "schedule": "cosine"},
            "`schedule` can't be `cosine`\n\nhint: there are `constant`, `linear`, `slanted`",
        ),
        ({"lr": 1.0, "warmup": 1.0}, "`warmup` is 1.0\n\nhint: it is from 0 up to, not including, 1"),
        ({"lr": 1.0, "clip": 0.0}, "`clip` is 0.0\n\nhint: it is above 0, or None"),
        ({"lr": 1.0, "kind": "sgd", "sized": True}, "`sized` is True\n\nhint: it is of adamw alone, not of sgd"),
        ({"lr": 1.0, "weight_decay": -1.0}, "`weight_decay` is -1.0\n\nhint: it is 0 or more"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(settings: dict[str, object], said: str) -> None:
    optim = Optim(lr=1.0)
    for name, value in settings.items():  # the tests' own check of types would stop `Optim(kind="adam")` first
        object.__setattr__(optim, name, value)
    with pytest.raises(SettingError) as caught:
        optim.__post_init__()
    assert str(caught.value) == said
