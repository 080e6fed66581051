"""Answers that are texts: what a model writes from the slot on."""

import math
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from promptatlas.data.example import Example
from promptatlas.data.view import Answer
from promptatlas.errors import SettingError
from promptatlas.lm.ask import Decode, Job, Text, Vocabulary
from promptatlas.lm.lm import LM
from promptatlas.lm.row import Row
from promptatlas.prompting.rows import Line
from promptatlas.score.chains import Chain, Chains, check
from promptatlas.score.opening import Opening
from promptatlas.score.phrases import MORE, Phrases
from promptatlas.text.scripts import joined

if TYPE_CHECKING:
    from promptatlas.prompting.prompt import Prompt

GREEDY = Decode(max_new=100)  # a model that knows where a text ends is done long before
ROUND = 8  # chains drawn at a time
WRITERS = "give a causal or seq2seq model, such as `pocket-causal` or `pocket-seq2seq`"


def texts(prompt: "Prompt", lm: LM, examples: Sequence[Example], how: Decode) -> list[list[Text]]:
    """`how.n` texts an example, with the blanks around them."""
    lines = lines_of(prompt, lm, examples)
    opening = next((one for one in prompt.calibration if isinstance(one, Opening)), None)
    if opening is None:
        return gone_on(prompt, lm, lines, how)
    return _opened(prompt, lm, prompt.reader(lm).encode(lines, room=how.max_new), opening, how)


def lines_of(prompt: "Prompt", lm: LM, examples: Sequence[Example]) -> list[Line]:
    """A line an example, whatever rows its view would make to be scored."""
    demos = prompt.demos.pick(lm, examples)
    return [Line(prompt.template, one, shown) for one, shown in zip(examples, demos, strict=True)]


def gone_on(prompt: "Prompt", lm: LM, lines: Sequence[Line], how: Decode, *, room: int = 0) -> list[list[Text]]:
    """`how.n` texts a line, with so many positions left free behind each."""
    rows = prompt.reader(lm).encode(lines, room=how.max_new + room)
    return lm.generate([Job(row, (), prompt.parts) for row in rows], how)


def begins(prompt: "Prompt", lm: LM, rows: Sequence[Row]) -> Float[Tensor, "rows vocab"]:
    """Log-probabilities of what is written first."""
    with torch.no_grad():
        readings = lm.read([Job(row, (Vocabulary(),), prompt.parts) for row in rows])
    return torch.stack([read.values[0] for (read,) in readings])


def _opened(prompt: "Prompt", lm: LM, rows: Sequence[Row], opening: Opening, how: Decode) -> list[list[Text]]:
    """Texts that go on from the first token that the calibration chooses; where that is a mark, nothing is written."""
    logp = begins(prompt, lm, rows)
    firsts = opening.first(logp).tolist()
    done = [[Text("", (), float(one[first]))] * how.n for one, first in zip(logp, firsts, strict=True)]
    on = [at for at, first in enumerate(firsts) if first not in lm.special]
    more = replace(how, max_new=how.max_new - 1)
    jobs = [Job(rows[at].begun((firsts[at],)), (), prompt.parts) for at in on]
    rest = lm.generate(jobs, more) if jobs and more.max_new else [[Text("", (), 0.0)] * how.n for _ in on]
    for at, some in zip(on, rest, strict=True):
        done[at] = [_behind(lm, firsts[at], float(logp[at, firsts[at]]), one, how) for one in some]
    return done


def _behind(lm: LM, first: int, logp: float, rest: Text, how: Decode) -> Text:
    text = lm.text((first, *rest.ids))
    cut = min((at for stop in how.stop if (at := text.find(stop)) >= 0), default=len(text))
    return Text(text[:cut], (first, *rest.ids), logp + rest.logp)


def written(prompt: "Prompt", lm: LM, examples: Sequence[Example], how: Decode | None) -> list[Answer]:
    """An answer an example: the text that is written, without blanks around it, and its probability.

    Of a prompt that reasons, what its chains vote for; see `score.chains.Chains`.

    Raises:
        SettingError: a prompt that answers otherwise.
        ModelError: a masked model, which can't write.
    """
    if not prompt.writes:
        raise SettingError(
            "`how` says how texts are written, and this prompt answers with labels or choices", hint="leave it out"
        )
    if isinstance(prompt.view, Chains):
        return reasoned(prompt, lm, examples, prompt.view, how or prompt.view.how)
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
    """The text that most prompts wrote, by their weights, the first of equals; its confidence is their share.

    Prompts that reason and come to no answer don't vote.
    """
    votes: dict[str, float] = {}
    for one, weight in zip(answers, weights, strict=True):
        if one.value is not None:
            votes[str(one.value)] = votes.get(str(one.value), 0.0) + weight
    if not votes:
        return answers[0]
    best = max(votes, key=lambda text: votes[text])
    return Answer(best, votes[best] / (math.fsum(votes.values()) or 1.0))


# Prompts that reason.


def reasoned(prompt: "Prompt", lm: LM, examples: Sequence[Example], view: Chains, how: Decode) -> list[Answer]:
    """An answer an example, out of `how.n` chains each.

    What is drawn for an example hangs on the seed and its own texts alone, whatever else is asked.
    """
    check(how)
    if how.n == 1 and how.temperature == 0:
        return [view.answer([one]) for one in _chains(prompt, lm, examples, view, how)]
    return [_voted(prompt, lm, one, view, how) for one in examples]


def _voted(prompt: "Prompt", lm: LM, example: Example, view: Chains, how: Decode) -> Answer:
    asked, chains = repr(prompt.template.render(example.fields)), list[Chain]()
    while len(chains) < how.n and not (chains and view.early and view.settled(chains, how.n - len(chains))):
        seed = sha256(f"{how.seed}/{len(chains)}/{asked}".encode()).digest()[:4]
        some = replace(how, n=min(ROUND, how.n - len(chains)), seed=int.from_bytes(seed))
        chains += _chains(prompt, lm, [example], view, some)
    return view.answer(chains)


def _chains(prompt: "Prompt", lm: LM, examples: Sequence[Example], view: Chains, how: Decode) -> list[Chain]:
    """`how.n` chains an example, example by example; a second call hears the answers where one is wanted."""
    lines = lines_of(prompt, lm, examples)
    room = len(lm.tokens(view.then)) + view.short if view.then else 0
    found = gone_on(prompt, lm, lines, how, room=room)
    if not view.then:
        return [
            Chain(one.text.strip(), view.said.read(one.text), one.logp, len(one.ids)) for row in found for one in row
        ]
    asked = [
        replace(line, said=joined(one.text.strip(), view.then))
        for line, row in zip(lines, found, strict=True)
        for one in row
    ]
    answers = gone_on(prompt, lm, asked, Decode(max_new=view.short, stop=how.stop))
    return [
        Chain(
            joined(line.said, answer.text.strip()),
            view.said.read(answer.text),
            one.logp + answer.logp,
            len(one.ids) + len(answer.ids),
        )
        for line, one, (answer,) in zip(asked, (one for row in found for one in row), answers, strict=True)
    ]
