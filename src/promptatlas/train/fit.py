"""One call of `tune`: steps, measurements, checkpoints."""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from promptatlas.artifact.load import under
from promptatlas.data.draw import batch_at
from promptatlas.data.example import Example
from promptatlas.data.view import Tags
from promptatlas.errors import PromptAtlasError, SettingError
from promptatlas.lm.lm import LM
from promptatlas.prompting import Prompt
from promptatlas.train.checkpoint import Checkpoint, Dev, Progress, read, write
from promptatlas.train.loss import Batch, answers, generator, tagged
from promptatlas.train.plan import Plan, named
from promptatlas.train.run import Event, Run
from promptatlas.train.share import World, sum_gradients, total
from promptatlas.train.trainee import Trainee

WINDOW = 100  # steps whose mean loss is compared
WAIT = 3  # windows without a better one before training counts as flat


@runtime_checkable
class Begins(Protocol):
    """A part that changes from step to step: noise, gates, what is frozen."""

    def begin(self, step: int, generator: torch.Generator) -> None:
        """Change for this step.

        No graph is made here: the step's batches may go backward one after the other.

        Args:
            step: from 0.
            generator: for what is drawn.
        """


@runtime_checkable
class Penalised(Protocol):
    """A part that adds to the loss."""

    def penalty(self) -> Tensor:
        """Added once a step, whatever the batches: Float[""]."""


@dataclass(eq=False)
class Fit:
    """One call of `tune`: what it works with, and how far it is."""

    plan: Plan
    trainee: Trainee
    lm: LM
    run: Run
    world: World
    place: Path | None
    settings: dict[str, Any]

    def __post_init__(self) -> None:
        self.progress = Progress()
        self.best: dict[str, Tensor] = {}
        self.saved = self.began = time.monotonic()

    def fit(self) -> Prompt:
        """Train to the end."""
        self.resume()
        while not self.progress.done:
            self.stop_if_told()
            self.trainee.train(True)
            with self.run.counted():
                self.step()
                self.measure()
            self.show()
            self.decide()
            if self.place is not None and self.due():
                self.write()
        if self.best:
            self.trainee.put(self.best)
        self.run.note(self.figures())
        return self.trainee.finished()

    def resume(self) -> None:
        """Go on from the checkpoint, if there is one."""
        if self.place is None:
            return
        self.world.wait()
        found = read(self.place, self.settings)
        self.world.wait()
        if found is None:
            return
        self.trainee.put(under(found.tensors, "parts"))
        self.trainee.remember(under(found.tensors, "optim"))
        self.best, self.progress = under(found.tensors, "best"), found.progress
        self.began -= self.progress.seconds

    def write(self) -> None:
        """Write a checkpoint; what only training needs is left out of the last one."""
        self.saved = time.monotonic()
        self.progress.seconds = self.saved - self.began
        if self.place is None or not self.world.first:
            return
        kinds = {"parts": self.trainee.learned(), "best": self.best}
        if not self.progress.done:
            kinds["optim"] = self.trainee.moments()
        tensors = {f"{kind}/{name}": value for kind, some in kinds.items() for name, value in some.items()}
        write(self.place, Checkpoint(self.settings, self.progress, tensors))

    def due(self) -> bool:
        """Whether to write a checkpoint now."""
        by_steps = self.run.steps is not None and self.progress.step % self.run.steps == 0
        return self.progress.done or by_steps or time.monotonic() - self.saved >= self.run.seconds

    def stop_if_told(self) -> None:
        """Stop all processes if one was told to, with a checkpoint."""
        reason = self.run.reason()
        told = torch.tensor([1.0 if reason else 0.0], device=self.lm.device)
        if total(told, self.world).item() > 0:
            self.write()
            self.run.stop(reason or "another process was", "tune", self.progress.step, self.plan.steps)

    def step(self) -> None:
        """One step of training."""
        at, steps = self.progress.step, self.plan.steps
        torch.manual_seed(generator("global", self.plan.seed, at, self.world.rank).initial_seed())
        self.trainee.clear()
        for name, module in self.trainee.modules.items():
            if isinstance(module, Begins):
                module.begin(at, generator("begin", self.plan.seed, at, name))
        mine = torch.zeros(1, device=self.lm.device)
        for piece in self.losses(at):
            mine += self.backward(piece)
        loss = sum_gradients(self.trainee.parameters, mine, self.world).item()
        rate = max(mover.settings.lr * mover.settings.factor(at, steps) for mover in self.trainee.movers)
        if not math.isfinite(loss):
            hint = "take a smaller `lr`, or clip the gradient: `Optim(clip=1.0)`"
            raise PromptAtlasError(f"the training loss is {loss} at step {at} (lr {rate:g})", hint=hint)
        if all(one.grad is None for one in self.trainee.parameters):
            raise SettingError(
                "no trained part touches the loss", hint="is each part in the template, or of another site?"
            )
        self.trainee.move(at, steps)
        self.progress.step, self.progress.loss = at + 1, loss
        self.run.tell(Event("tune", at + 1, steps, {"loss": loss, "lr": rate}))

    def losses(self, step: int) -> Iterator[Tensor]:
        """Pieces of the step's loss, one after the other; they sum to the loss over all processes."""
        for at, term in enumerate(self.plan.terms):
            seed = generator("term", self.plan.seed, at).initial_seed()
            places = batch_at(len(term.examples), term.batch, step, seed)
            for piece in self.pieces(at, term.whole, places):
                batch = _batch(term.examples, piece, step, seed)
                losses = term.loss(self.trainee.prompt, self.lm, batch)
                if losses.shape != (len(piece),):
                    shape = f"{named(term.loss)} gave the shape {list(losses.shape)} for {len(piece)} examples"
                    raise SettingError(shape, hint="a loss gives one number an example")
                yield term.weight * losses.sum() / len(places)
        if self.world.first:
            yield from (part.penalty() for part in self.trainee.modules.values() if isinstance(part, Penalised))

    def pieces(self, term: int, whole: bool, places: Sequence[int]) -> list[Sequence[int]]:
        """A logical batch as this process takes it."""
        if whole:
            return [places] if term % self.world.size == self.world.rank else []
        mine = self.world.share(places)
        size = self.plan.micro or max(1, len(mine))
        return [mine[at : at + size] for at in range(0, len(mine), size)]

    def backward(self, loss: Tensor) -> Tensor:
        """Add the gradients of a piece."""
        if loss.requires_grad:
            loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach().reshape(1)

    def measure(self) -> None:
        """Measure on the dev examples, when it is time."""
        now = self.progress
        if not self.plan.dev or (now.step % self.plan.every and now.step < self.plan.steps):
            return
        self.trainee.train(False)
        with torch.no_grad():
            right, loss = total(self.dev_sums(), self.world).div(len(self.plan.dev)).tolist()
        now.dev = Dev(now.step, right, loss)
        self.run.tell(Event("dev", now.step, self.plan.steps, {"dev_accuracy": right, "dev_loss": loss}))
        now.waited += 1
        if now.best is None or (right, -loss) > (now.best.accuracy, -now.best.loss):
            now.best, now.waited = now.dev, 0
            if self.plan.keep == "best":
                self.best = self.trainee.learned()

    def show(self) -> None:
        """Let who watches see what was learned so far."""
        if self.run.watch is not None:
            self.trainee.train(False)
            with torch.no_grad():
                self.run.watch(self.progress.step, self.plan.steps, self.trainee.prompt)

    def dev_sums(self) -> Tensor:
        """How many of this process's dev examples are right, and the sum of their losses."""
        prompt, dev = self.trainee.prompt, self.plan.dev
        places = self.world.share(range(len(dev)))
        sums = torch.zeros(2, device=self.lm.device)
        if not places:
            return sums
        batch = _batch(dev, places, self.progress.step, self.plan.seed)
        if isinstance(prompt.view, Tags):
            shares, losses = tagged(prompt, self.lm, batch.examples)
            return torch.stack([shares.sum(), losses.sum()]).to(sums)
        if not all(one.target in answers(prompt, one) for one in dev):
            sums[1] = self.plan.terms[0].loss(prompt, self.lm, batch).sum()
            return sums
        scores = prompt.score(self.lm, batch.examples)
        right = [answers(prompt, one).index(str(one.target)) for one in batch.examples]
        targets = torch.tensor(right, device=scores.device)
        losses = -scores.gather(1, targets[:, None])
        return torch.stack([(scores.argmax(1) == targets).sum().to(losses), losses.sum()]).to(sums)

    def decide(self) -> None:
        """Keep account of the loss, and end training when it is time."""
        now = self.progress
        now.window.append(now.loss)
        if len(now.window) == WINDOW:
            now.means.append(math.fsum(now.window) / WINDOW)
            now.window.clear()
        waited = self.plan.patience is not None and now.waited >= self.plan.patience
        now.done = now.step >= self.plan.steps or waited or is_flat(now.means, self.plan.flat)

    def figures(self) -> dict[str, float | int]:
        """What was measured."""
        now = self.progress
        seconds = now.seconds if self.place is not None else time.monotonic() - self.began
        figures = {"steps": now.step, "loss": now.loss, "seconds": seconds, "trained": self.trainee.count()}
        kept = now.best if self.plan.keep == "best" else now.dev
        return figures if kept is None else {**figures, "dev_accuracy": kept.accuracy, "dev_loss": kept.loss}


def is_flat(means: Sequence[float], flat: float | None) -> bool:
    """Whether the last three window means are all no better than what came before, by `flat` of the first."""
    if flat is None or len(means) <= WAIT:
        return False
    return min(means[-WAIT:]) > min(means[:-WAIT]) - flat * abs(means[0])


def _batch(examples: Sequence[Example], places: Sequence[int], step: int, seed: int) -> Batch:
    drawn = generator(seed, step, places[0])
    return Batch(tuple(examples[at] for at in places), tuple(places), step, drawn, seed)
