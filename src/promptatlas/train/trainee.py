"""What is being trained: copies of a prompt's parts, on the model's device, and what moves them."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn

from promptatlas.artifact.load import under
from promptatlas.errors import NeedsError, SettingError, near
from promptatlas.lm.lm import LM
from promptatlas.prompting import Prompt
from promptatlas.train.optim import Optim


@runtime_checkable
class Steps(Protocol):
    """A part that has a hand in how it is moved: gradients that are masked, values that are put back."""

    def stepping(self) -> AbstractContextManager[None]:
        """Entered with the step's gradients in place and clipped, left when the optimiser has moved."""


@dataclass(frozen=True, eq=False)
class Mover:
    """An optimiser, its settings, and the parameters it moves."""

    settings: Optim
    optimiser: torch.optim.Optimizer
    parameters: tuple[nn.Parameter, ...]


@dataclass(frozen=True, eq=False)
class Trainee:
    """A prompt under training.

    Attributes:
        given: the prompt as it was given, which nothing here changes.
        prompt: the same with copies of its trainable parts.
        modules: those copies that are trained, by part name.
        movers: one a setting; together they move every parameter trained.
    """

    given: Prompt
    prompt: Prompt
    modules: Mapping[str, nn.Module]
    movers: tuple[Mover, ...]

    @property
    def parameters(self) -> list[nn.Parameter]:
        """Every parameter trained."""
        return [one for mover in self.movers for one in mover.parameters]

    def count(self) -> int:
        """Numbers trained."""
        return sum(one.numel() for one in self.parameters)

    def train(self, mode: bool) -> None:
        """Into training mode (dropout, noise) or out of it."""
        for module in self.modules.values():
            module.train(mode)

    def clear(self) -> None:
        """Forget gradients."""
        for one in self.parameters:
            one.grad = None

    def move(self, step: int, steps: int) -> None:
        """One step along the gradients, clipped, at the rate of this step."""
        for mover in self.movers:
            if mover.settings.clip is not None:
                torch.nn.utils.clip_grad_norm_(mover.parameters, mover.settings.clip)
            for group in mover.optimiser.param_groups:
                group["lr"] = mover.settings.lr * mover.settings.factor(step, steps)
        with ExitStack() as around:
            for module in self.modules.values():
                if isinstance(module, Steps):
                    around.enter_context(module.stepping())
            for mover in self.movers:
                mover.optimiser.step()

    def learned(self) -> dict[str, Tensor]:
        """A copy of every tensor of the trained parts, gates and other buffers too."""
        states = ((name, module.state_dict()) for name, module in self.modules.items())
        return {f"{name}/{key}": value.detach().cpu().clone() for name, state in states for key, value in state.items()}

    def put(self, learned: Mapping[str, Tensor]) -> None:
        """Take over tensors that `learned` gave."""
        for name, module in self.modules.items():
            module.load_state_dict(under(learned, name))

    def moments(self) -> dict[str, Tensor]:
        """What the optimisers remember."""
        return {
            f"{at}/{one}/{key}": value
            for at, mover in enumerate(self.movers)
            for one, state in mover.optimiser.state_dict()["state"].items()
            for key, value in state.items()
            if value is not None
        }

    def remember(self, moments: Mapping[str, Tensor]) -> None:
        """Take over what `moments` gave."""
        for at, mover in enumerate(self.movers):
            state: dict[int, dict[str, Tensor]] = {}
            for name, value in under(moments, str(at)).items():
                one, _, key = name.partition("/")
                state.setdefault(int(one), {})[key] = value
            mover.optimiser.load_state_dict({**mover.optimiser.state_dict(), "state": state})

    def finished(self) -> Prompt:
        """The given prompt with the trained parts: on the CPU, without gradients, trainable where they were."""
        self.clear()
        for name, module in self.modules.items():
            module.to("cpu").eval()
            before = dict(cast(nn.Module, self.given.parts[name]).named_parameters())
            for key, one in module.named_parameters():
                one.requires_grad_(before[key].requires_grad)
        return self.given.plus(**cast(dict[str, Any], self.modules))


def trainee(prompt: Prompt, lm: LM, optim: Optim | Mapping[str, Optim]) -> Trainee:
    """Copy what is trainable. With a mapping, parts it doesn't name stay as they are.

    Raises:
        NeedsError: nothing is trainable, or the model gives no gradients.
        SettingError: the mapping names a part that isn't there or can't be trained.
    """
    trainable = prompt.trainable()
    if not trainable:
        raise NeedsError("there is no part to train in this prompt", hint="add one: `prompt.lead(soft=Vectors(...))`")
    if "gradient" not in lm.can:
        raise NeedsError(f"`{lm.name}` gives no gradients, so parts can't be trained", hint="load a local model")
    settings = dict.fromkeys(trainable, optim) if isinstance(optim, Optim) else dict(optim)
    for name in settings:
        if name not in trainable:
            raise SettingError(
                f"`optim` names the part `{name}`, which can't be trained here", hint=near(name, trainable)
            )
    if not settings:
        raise SettingError("`optim` names no part", hint=near("", trainable))
    copies = deepcopy(dict(trainable))  # at once: parts may share tensors
    for name, module in copies.items():
        module.to(lm.device)
        if name not in settings:
            module.requires_grad_(False).eval()
    modules = {name: module for name, module in copies.items() if name in settings}
    movers = tuple(_movers(modules, settings))
    return Trainee(prompt, prompt.plus(**cast(dict[str, Any], copies)), modules, movers)


def _movers(modules: Mapping[str, nn.Module], settings: Mapping[str, Optim]) -> Sequence[Mover]:
    """One a setting, so that equal settings clip by one norm."""
    movers, seen = [], set[nn.Parameter]()
    for one in dict.fromkeys(settings.values()):
        parameters = [
            parameter
            for name, module in modules.items()
            if settings[name] == one
            for parameter in module.parameters()
            if parameter.requires_grad and parameter not in seen and not seen.add(parameter)  # type: ignore[func-returns-value]
        ]
        movers.append(Mover(one, one.make(parameters), tuple(parameters)))
    return movers
