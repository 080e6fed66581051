"""Answers that are texts: what a model writes from the slot on."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from promptatlas.data.example import Example
from promptatlas.data.view import Answer
from promptatlas.errors import SettingError
from promptatlas.lm.ask import Decode, Job, Text
from promptatlas.lm.lm import LM
from promptatlas.prompting.rows import Line
from promptatlas.score.phrases import MORE, Phrases

if TYPE_CHECKING:
    from promptatlas.prompting.prompt import Prompt

GREEDY = Decode(max_new=100)  # a model that knows where a text ends is done long before
WRITERS = "give a causal or seq2seq model, such as `pocket-causal` or `pocket-seq2seq`"


def texts(prompt: "Prompt", lm: LM, examples: Sequence[Example], how: Decode) -> list[list[Text]]:
    """`how.n` texts an example, with the blanks around them."""
    demos = prompt.demos.pick(lm, examples)
    lines = [Line(prompt.template, one, shown) for one, shown in zip(examples, demos, strict=True)]
    return lm.generate([Job(row, (), prompt.parts) for row in prompt.reader(lm).encode(lines, room=how.max_new)], how)


def written(prompt: "Prompt", lm: LM, examples: Sequence[Example], how: Decode | None) -> list[Answer]:
    """An answer an example: the text that is written, without blanks around it, and its probability.

    Raises:
        SettingError: a prompt that answers otherwise.
        ModelError: a masked model, which can't write.
    """
    if not prompt.writes:
        raise SettingError(
            "`how` says how texts are written, and this prompt answers with labels or choices", hint="leave it out"
        )
    found = texts(prompt, lm, examples, how or GREEDY)
    return [Answer(one[0].text.strip(), math.exp(one[0].logp)) for one in found]


def matched(
    prompt: "Prompt", phrases: Phrases, lm: LM, examples: Sequence[Example], how: Decode | None
) -> list[Answer]:
    """An answer an example: the label whose phrase is written; None, and what was written, where it is no phrase.

    A text ends at the model's end mark or at a line break. The confidence is the probability of what was written.

    Raises:
        ModelError: a masked model, which can't write.
    """
    longest = max(map(len, phrases.tokens(lm, prompt.template)))
    found = texts(prompt, lm, examples, how or Decode(max_new=longest + MORE, stop=("\n",)))
    return [_matched(phrases, one[0]) for one in found]


def _matched(phrases: Phrases, written: Text) -> Answer:
    label = phrases.match(written.text)
    why = "" if label is not None else f"wrote `{written.text.strip()}`, which is no label's phrase"
    return Answer(label, math.exp(written.logp), why=why)


def voted(answers: Sequence[Answer], weights: Sequence[float]) -> Answer:
    """The text that most prompts wrote, by their weights, the first of equals; its confidence is their share."""
    votes: dict[str, float] = {}
    for one, weight in zip(answers, weights, strict=True):
        votes[str(one.value)] = votes.get(str(one.value), 0.0) + weight
    best = max(votes, key=lambda text: votes[text])
    return Answer(best, votes[best] / sum(weights))
