"""What `tune` was asked to do."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any

from promptatlas.data.example import Example
from promptatlas.errors import SettingError, near
from promptatlas.lm.lm import LM
from promptatlas.prompting import Prompt
from promptatlas.train.loss import Keyed, Loss
from promptatlas.train.optim import Optim


@dataclass(frozen=True, eq=False)
class Term:
    """One thing a loss is taken of.

    Attributes:
        examples: drawn from in epochs, in an order the seed fixes.
        loss: a number an example; the term is its mean over the batch.
        weight: what the term is multiplied by in the sum of terms.
        batch: examples a step.
        whole: whether a batch must not be split (a loss that compares its examples).
    """

    examples: Sequence[Example]
    loss: Loss
    weight: float = 1.0
    batch: int = 8
    whole: bool = False


@dataclass(frozen=True, eq=False)
class Plan:
    """Settings of `tune`, by the names they have there."""

    terms: tuple[Term, ...]
    steps: int
    seed: int
    dev: tuple[Example, ...]
    keep: str
    every: int
    patience: int | None
    flat: float | None
    micro: int | None

    def check(self) -> None:
        """Raises SettingError."""
        if not self.terms:
            raise SettingError("there is nothing to train on: no term", hint="`[Term(task.train, nll)]`")
        for at, term in enumerate(self.terms):
            if not term.examples:
                raise SettingError(f"term {at} has no examples", hint="give it some, or leave it out")
        counts = {"steps": self.steps, "every": self.every, "patience": self.patience, "micro": self.micro}
        for name, value in {**counts, "batch": min(term.batch for term in self.terms)}.items():
            if value is not None and value < 1:
                raise SettingError(f"`{name}` is {value}", hint="it is 1 or more")
        if self.keep not in ("last", "best"):
            raise SettingError(f"`keep` can't be `{self.keep}`", hint=near(self.keep, ("last", "best")))
        if not self.dev and (self.keep == "best" or self.patience is not None):
            wanted = "keep='best'" if self.keep == "best" else "`patience`"
            raise SettingError(f"{wanted} needs dev examples", hint="give `dev`")

    def settings(self, prompt: Prompt, lm: LM, optim: Optim | Mapping[str, Optim]) -> dict[str, Any]:
        """What has to be equal for a checkpoint to go on: all but how batches are split."""
        return {
            "prompt": prompt.key,
            "lm": dict(lm.identity),
            "terms": [[_digest(one.examples), named(one.loss), one.weight, one.batch, one.whole] for one in self.terms],
            "optim": asdict(optim) if isinstance(optim, Optim) else {name: asdict(one) for name, one in optim.items()},
            "dev": _digest(self.dev),
            **{name: getattr(self, name) for name in ("steps", "seed", "keep", "every", "patience", "flat")},
        }


def named(loss: Loss) -> str:
    """A loss's name; of one that holds values, those too."""
    if isinstance(loss, Keyed):
        return loss.key()
    return f"{loss.__module__}.{getattr(loss, '__qualname__', type(loss).__qualname__)}"


def _digest(examples: Sequence[Example]) -> str:
    if isinstance(examples, Keyed):
        return examples.key()
    digest = sha256()
    for one in examples:
        target = sorted(one.target) if isinstance(one.target, frozenset) else one.target
        shown = (str, int, float, list, tuple)
        texts = {name: value if isinstance(value, shown) else "" for name, value in one.fields.items()}
        digest.update(repr((one.key, target, sorted(texts.items()))).encode())
    return digest.hexdigest()
