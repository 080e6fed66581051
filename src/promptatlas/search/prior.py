"""What a prompt is calibrated by: texts without labels, or their words in disorder."""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from promptatlas.data.example import Example
from promptatlas.data.task import Task
from promptatlas.errors import ModelError, NeedsError, SettingError
from promptatlas.lm.lm import LM
from promptatlas.prompting import Prompt
from promptatlas.score.calibrate import Divide
from promptatlas.text.scripts import HAN

UNIT = re.compile(rf"[{HAN}]|[^\s{HAN}]+")  # what is written without blanks is a word a character
BARE = re.compile(rf"[{HAN}]")


def uncalibrated(prompt: Prompt, method: str) -> Prompt:
    """The prompt without the calibration it had.

    Raises:
        NeedsError: its demonstrations depend on the input, so that one bias isn't that of all.
    """
    if not prompt.demos.fixed:
        raise NeedsError(
            f"`{method}` needs the same demonstrations for all inputs, and this prompt's depend on it",
            hint="use fixed ones, or `contextual_calibration` with each=True",
        )
    return replace(prompt, calibration=())


def any_texts(task: Task, count: int, seed: int, needed: str, hint: str) -> list[Example]:
    """At most so many of the task's texts, drawn at random: unlabeled and training examples, whose labels don't matter.

    Raises:
        NeedsError: there are none; `needed` says who needs them and for what, `hint` what does without.
    """
    every = (*task.unlabeled, *task.train)
    if not every:
        raise NeedsError(f"{needed}, and `{task.name}` has none", hint=hint)
    return drawn(every, count, seed)


def unlabelled(lm: LM, task: Task, prompt: Prompt, method: str) -> list[Example]:
    """The task's unlabeled examples, or where it has none its training examples, without targets.

    What the prompt shows as a demonstration is left out.

    Raises:
        NeedsError: there are none.
    """
    shown = [one.fields for one in prompt.demos.pick(lm, [Example(dict.fromkeys(task.fields, ""))])[0]]
    every = [replace(one, target=None) for one in task.unlabeled or task.train if one.fields not in shown]
    if not every:
        beside = ", but for the demonstrations," if shown else ""
        raise NeedsError(
            f"`{method}` needs texts, with labels or without, and `{task.name}` has{beside} none",
            hint="give unlabeled examples; `contextual_calibration` does without",
        )
    return every


def drawn(texts: Sequence[Example], count: int, seed: int) -> list[Example]:
    """As many of them, at random; all where there are fewer.

    Raises:
        SettingError: fewer than one is asked for.
    """
    if count < 1:
        raise SettingError(f"{count} texts are drawn", hint="draw 1 or more")
    return random.Random(seed).sample(list(texts), min(count, len(texts)))


def disordered(texts: Sequence[Example], count: int, seed: int) -> list[Example]:
    """Examples whose fields of text are words drawn from that field of all texts, as many as a text has on average.

    A word that is written often is drawn often. Where a script has no blanks, a character is a word.

    Args:
        texts: where words come from; what is no text in the first one's fields stays as it is there.
        count: of examples.
        seed: of the draw.
    """
    if count < 1:
        raise SettingError(f"{count} texts are made of words", hint="make 1 or more")
    rng = random.Random(seed)
    words: dict[str, list[str]] = {}
    for name, value in texts[0].fields.items():
        if isinstance(value, str):
            words[name] = [unit for one in texts for unit in UNIT.findall(str(one.fields.get(name, "")))]
    sizes = {name: max(1, round(len(some) / len(texts))) if some else 0 for name, some in words.items()}
    made = []
    for _ in range(count):
        fields = {name: joined([rng.choice(some) for _ in range(sizes[name])]) for name, some in words.items()}
        made.append(Example({**texts[0].fields, **fields}))
    return made


def joined(units: Sequence[str]) -> str:
    """Words as one text: a blank between two that are written with one.

    >>> joined(["a", "b", "很", "好", "c"])
    'a b很好c'
    """
    text = ""
    for one in units:
        text += one if not text or BARE.match(one) or BARE.match(text[-1]) else f" {one}"
    return text


def heard(prompt: Prompt, lm: LM, texts: Sequence[Example]) -> Float[Tensor, "texts labels"]:
    """Log-probabilities of the labels in each text, in float64: they sum to one before anything is averaged.

    Raises:
        ModelError: a text in which no label has any probability.
    """
    with torch.no_grad():
        mass = prompt.mass(lm, texts).double().cpu()
    bad = ~torch.isfinite(mass.amax(-1))
    if bad.any():
        raise ModelError(f"the model gives no label any probability in text {int(bad.nonzero()[0]) + 1}")
    return mass.log_softmax(-1)


def mean_prior(logp: Float[Tensor, "texts labels"], labels: Sequence[str], strength: float = 1.0) -> Divide:
    """Each label's mean probability over texts, to be divided out.

    Args:
        logp: of `heard`.
        labels: their names.
        strength: a power of the mean; 0 divides nothing out.
    """
    mean = logp.logsumexp(0) - torch.tensor(float(len(logp)), dtype=logp.dtype).log()
    return Divide(labels=tuple(labels), prior=tuple((strength * mean).softmax(0).tolist()))


def figures(divide: Divide) -> Mapping[str, float]:
    """A fitted prior for a history: each label's, and its entropy in nats; log(labels) is no bias at all."""
    shares = {f"prior {label}": round(one, 4) for label, one in zip(divide.labels, divide.prior or (), strict=True)}
    return {**shares, "entropy": round(divide.entropy or 0.0, 4)}
