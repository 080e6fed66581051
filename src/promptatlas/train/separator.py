"""A vector after each demonstration, and its training under many orders of them.

Kumar & Talukdar 2021, arXiv:2106.01751, sec. 3.
"""

from collections.abc import Sequence
from dataclasses import replace

from promptatlas.data.example import Example
from promptatlas.demos.told import Told
from promptatlas.errors import SettingError, near
from promptatlas.lm.lm import LM
from promptatlas.parts.soften import of_tokens
from promptatlas.prompting import Prompt
from promptatlas.text.pieces import PartPiece
from promptatlas.text.template import Template
from promptatlas.train.loop import Term, tune
from promptatlas.train.loss import nll, nll_among_all
from promptatlas.train.optim import Optim
from promptatlas.train.run import Run

Order = tuple[int, ...]
LINE = "a\n"  # its last token is a line break's, whatever a tokenizer does with one that stands alone (released code)


def separated(prompt: Prompt, lm: LM, part: str, start: str = "end") -> Prompt:
    """The prompt with one vector between demonstrations, in place of what stood there.

    A vector the prompt has already stays.

    Args:
        prompt: shows demonstrations.
        lm: the model.
        part: the vector's name.
        start: "end": the vector of the token that ends a text; "line": of a line break.

    Raises:
        SettingError: another start, or a model whose tokenizer has no such token.
    """
    if start not in ("end", "line"):
        raise SettingError(f"a separator can't start from `{start}`", hint=near(start, ("end", "line")))
    joint = Template((PartPiece(part),))
    if part in prompt.parts:
        return prompt if part in prompt.between.parts else replace(prompt, between=joint)
    (row,) = lm.encode([Template.parse("a{sep}" if start == "end" else "").render({})], {})
    ends = [at for span in row.spans if span.name == "sep" for at in row.ids[span.start : span.end]]
    ids = ends if start == "end" else lm.tokens(LINE)
    if not ids:
        raise SettingError(f"the tokenizer of {lm.name} has no token that ends a text", hint="start from a `line`")
    return replace(prompt, between=joint).plus(**{part: of_tokens(lm, ids[-1:])})


def lasts(pool: Sequence[Example], orders: Sequence[Order]) -> tuple[list[Example], Told]:
    """Of each order the last example, to be asked about, and those in front of it, to be shown."""
    asked = [replace(pool[one[-1]], key=f"order {at}") for at, one in enumerate(orders)]
    return asked, Told(
        {one.key: tuple(pool[at] for at in order[:-1]) for one, order in zip(asked, orders, strict=True)}
    )


def taught(
    prompt: Prompt, lm: LM, pool: Sequence[Example], orders: Sequence[Order], part: str, *, lr: float, epochs: int,
    batch: int, patience: int, among: str, seed: int, run: Run,
) -> Prompt:  # fmt: skip
    """The prompt with the vector trained on the last example of each order, after those in front of it.

    The first half of the orders is learned from, and the vector kept that does best on the second half.

    Args:
        prompt: with the part between demonstrations; its own demonstrations come back.
        lm: the model.
        pool: numbered by the orders.
        orders: two or more, each of two or more.
        part: the vector's name.
        lr: the rate.
        epochs: the most.
        batch: orders a step.
        patience: epochs without a better one after which training stops.
        among: "labels", or all the "vocabulary".
        seed: of the batches.
        run: keeps what is done.

    Raises:
        SettingError: fewer.
    """
    if len(orders) < 2 or min(map(len, orders)) < 2:
        raise SettingError(
            f"a separator is learned from {len(orders)} orders of {min(map(len, orders), default=0)} demonstrations",
            hint="take 2 orders of 2 demonstrations, or more",
        )
    asked, told = lasts(pool, orders)
    half = len(asked) // 2
    tuned = tune(
        replace(prompt, demos=told), lm, [Term(asked[:half], nll if among == "labels" else nll_among_all, batch=batch)],
        optim={part: Optim(lr=lr)}, steps=epochs * -(-half // batch), seed=seed, dev=asked[half:], keep="best",
        every=-(-half // batch), patience=patience, flat=None, run=run,
    )  # fmt: skip
    return replace(tuned, demos=prompt.demos)
