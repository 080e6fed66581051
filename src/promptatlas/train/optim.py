"""How parts are moved: the optimiser, and what its rate is multiplied by at each step."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import nn

from promptatlas.errors import SettingError, near

Kind = Literal["adamw", "adafactor", "sgd"]
Schedule = Literal["constant", "linear", "slanted"]

RISE = 0.1  # Howard & Ruder 2018, arXiv:1801.06146, sec. 3.2: cut_frac
RATIO = 32  # the same: the lowest rate is the highest divided by this
DECAY = 0.8  # Shazeer & Stern 2018, arXiv:1804.04235: the second moment's decay is 1 - step^-0.8
LEAST = 1e-3  # the same: the size a weight is taken to have at least
TINY = 1e-30  # the same: added to the squared gradient


@dataclass(frozen=True, kw_only=True)
class Optim:
    """Settings of an optimiser.

    Attributes:
        kind: "adamw", "adafactor" (for soft prompts: see `Adafactor`) or "sgd".
        lr: the highest rate.
        weight_decay: pulls weights to zero, times the rate; never biases and gains (tensors of one axis).
        schedule: "constant"; "linear": down to zero at the end; "slanted": up, then slowly down.
        warmup: the share of the steps during which the rate rises; None: none, and a tenth under "slanted".
        clip: the largest norm of the gradient of all that this optimiser moves; None: any.
        betas: decays of adamw's moments.
        eps: added to adamw's denominator.
        momentum: of sgd.
        sized: the rate is times each weight's own root mean square (Shazeer & Stern 2018, sec. 8), of adamw.
    """

    kind: Kind = "adamw"
    lr: float
    weight_decay: float = 0.0
    schedule: Schedule = "constant"
    warmup: float | None = None
    clip: float | None = 1.0
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    momentum: float = 0.0
    sized: bool = False

    def __post_init__(self) -> None:
        _known("kind", self.kind, get_args(Kind))
        _known("schedule", self.schedule, get_args(Schedule))
        _within("lr", self.lr, self.lr > 0, "above 0")
        _within("weight_decay", self.weight_decay, self.weight_decay >= 0, "0 or more")
        _within("warmup", self.warmup, self.warmup is None or 0 <= self.warmup < 1, "from 0 up to, not including, 1")
        _within("sized", self.sized, not self.sized or self.kind == "adamw", f"of adamw alone, not of {self.kind}")
        _within("clip", self.clip, self.clip is None or self.clip > 0, "above 0, or None")

    def factor(self, step: int, steps: int) -> float:
        """What the rate is multiplied by at `step` (from 0) of `steps`."""
        if self.schedule == "slanted":
            return slanted(step, steps, RISE if self.warmup is None else self.warmup)
        rise = int(steps * (self.warmup or 0.0))
        if step < rise:
            return step / rise
        return linear(step - rise, steps - rise) if self.schedule == "linear" else 1.0

    def make(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """An optimiser of these parameters, its rate at `lr`."""
        every = list(parameters)
        groups: list[dict[str, Any]] = [
            {"params": [one for one in every if one.ndim > 1], "weight_decay": self.weight_decay},
            {"params": [one for one in every if one.ndim <= 1], "weight_decay": 0.0},
        ]
        groups = [group for group in groups if group["params"]]
        if self.kind == "adafactor":
            return Adafactor(groups, lr=self.lr)
        if self.kind == "sgd":
            return torch.optim.SGD(groups, lr=self.lr, momentum=self.momentum)
        if self.sized:
            groups = [{**group, "params": [one]} for group in groups for one in group["params"]]
            return SizedAdamW(groups, lr=self.lr, betas=self.betas, eps=self.eps)
        return torch.optim.AdamW(groups, lr=self.lr, betas=self.betas, eps=self.eps)


def each(rates: Mapping[str, float], **settings: Any) -> dict[str, Optim]:
    """Settings of an optimiser a part: these rates by part name, all else alike."""
    return {part: Optim(lr=lr, **settings) for part, lr in rates.items()}


def linear(step: int, steps: int) -> float:
    """From 1 at the first step down to 0 after the last."""
    return max(0.0, 1 - step / max(1, steps))


def slanted(step: int, steps: int, rise: float) -> float:
    """Slanted triangular: up for the share `rise` of the steps, then down to where it began.

    Howard & Ruder 2018, arXiv:1801.06146, eq. 3. differs: never below the lowest rate, where rounding would carry it.
    """
    cut = max(1, int(steps * rise))
    share = step / cut if step < cut else 1 - (step - cut) / (cut * (1 / rise - 1) if rise else max(1, steps - cut))
    return (1 + max(0.0, share) * (RATIO - 1)) / RATIO


class Adafactor(torch.optim.Optimizer):
    """Adafactor as prompt tuning uses it: the gradient over the root of its running square, clipped to an RMS of 1.

    Shazeer & Stern 2018, arXiv:1804.04235, with the rate as it is given: not scaled by the parameter's own size, not
    falling as 1 / sqrt(step). Both are built into `torch.optim.Adafactor`, which factors every matrix besides. differs:
    the second moment is never factored; a soft prompt's must not be, and other parts are too small to gain by it.
    """

    def __init__(self, params: Iterable[dict[str, object]], *, lr: float) -> None:
        torch.optim.Optimizer.__init__(self, params, {"lr": lr, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            for one in group["params"]:
                if one.grad is not None:
                    self._move(one, one.grad, group["lr"], group["weight_decay"])

    def _move(self, one: torch.Tensor, gradient: torch.Tensor, lr: float, weight_decay: float) -> None:
        state = self.state[one]
        if not state:
            state["step"], state["square"] = torch.tensor(0.0), torch.zeros_like(one)
        state["step"] += 1
        new = state["step"].item() ** -DECAY
        state["square"].lerp_(gradient.square() + TINY, new)
        update = gradient * state["square"].rsqrt()
        update /= update.square().mean().sqrt().clamp(min=1.0)
        one.mul_(1 - lr * weight_decay).sub_(update, alpha=lr)


class SizedAdamW(torch.optim.AdamW):
    """AdamW, each weight at its own pace: the rate times its root mean square, and never times less than `LEAST`.

    Weights of very different sizes, as T5's (embeddings of size 1 beside projections of a hundredth), move alike then.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        rates = [group["lr"] for group in self.param_groups]
        for group in self.param_groups:
            sizes = [one.square().mean().sqrt().item() for one in group["params"]]
            group["lr"] *= max(LEAST, *sizes)
        torch.optim.AdamW.step(self)
        for group, rate in zip(self.param_groups, rates, strict=True):
            group["lr"] = rate


def _known(name: str, value: str, values: tuple[str, ...]) -> None:
    if value not in values:
        raise SettingError(f"`{name}` can't be `{value}`", hint=near(value, values))


def _within(name: str, value: float | bool | None, holds: bool, what: str) -> None:
    if not holds:
        raise SettingError(f"`{name}` is {value}", hint=f"it is {what}")
