"""Weights of label words, trained with the model or on their own."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from promptatlas.data.example import Example
from promptatlas.lm.lm import LM
from promptatlas.parts.weigh import weigh
from promptatlas.prompting import Prompt
from promptatlas.score.weighed import Weighed
from promptatlas.score.words import Words
from promptatlas.train.loop import Term, tune
from promptatlas.train.loss import nll
from promptatlas.train.optim import Optim
from promptatlas.train.run import Run


def weighed(
    prompt: Prompt, lm: LM, words: Words, examples: Sequence[Example], *, lr: float, others: Mapping[str, Optim],
    steps: int, batch: int, seed: int, run: Run,
) -> Prompt:  # fmt: skip
    """The prompt with trained weights of its words, which are then a part of the words.

    Args:
        prompt: its parts named in `others` are trained too.
        lm: the model.
        words: all alike at first; no two of the same tokens.
        examples: labelled.
        lr: of the words' weights; it stays, and they don't decay.
        others: how parts are moved.
        steps: of training.
        batch: examples a step.
        seed: of the batches.
        run: of the training.
    """
    trained = Weighed(words=words)
    start = replace(prompt, words=trained).plus(weigh=weigh(sum(map(len, words.words.values()))))
    optim = {"weigh": Optim(lr=lr), **others}
    tuned = tune(start, lm, [Term(examples, nll, batch=batch)], optim=optim, steps=steps, seed=seed, flat=None, run=run)
    kept = {name: part for name, part in tuned.parts.items() if name != "weigh"}
    return replace(tuned, words=trained.settled(tuned.parts), parts=kept)
