"""Learning to choose: a model picks the title of a text among others, and writes it.

Puri & Catanzaro 2019, "Zero-shot Text Classification With Generative Language Models", arXiv:1912.10165.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from promptatlas.data.corpus import Corpus, Known, below
from promptatlas.data.example import Example
from promptatlas.data.questions import LAYOUTS, Language
from promptatlas.data.titles import MOST, Titled, Titles, parted, titled
from promptatlas.data.view import Choices
from promptatlas.errors import NeedsError
from promptatlas.lm.ask import Decode, Given, Job, Places
from promptatlas.lm.lm import LM
from promptatlas.parts.weights import full, onto
from promptatlas.prompting import Line, Prompt
from promptatlas.score.own import Own
from promptatlas.score.phrases import normal
from promptatlas.text.pieces import FieldPiece, Piece, SlotPiece, TextPiece
from promptatlas.text.template import Template
from promptatlas.train.loop import Term, tune
from promptatlas.train.loss import Batch
from promptatlas.train.optim import Optim
from promptatlas.train.run import Run
from promptatlas.train.written import Written

HELD = 0.02  # of the documents, no question is trained on
LOOKED = 100  # held-out questions at most, of which it is counted how many are right
WRITTEN = Decode(max_new=48, stop=("\n",))


def layout(language: Language, question: Piece, pieces: Iterable[Piece]) -> Template:
    """A question, a text and the slot, a line each; nothing of the question is ever cut.

    Args:
        language: of what stands before each.
        question: its text, or the field it is in.
        pieces: of a template, whose fields are the text, each once.

    >>> print(layout("en", FieldPiece("question", keep=True), [FieldPiece("text")]))
    Question: {question!}
    Text: {text}
    Answer: {mask}
    """
    said, fields = LAYOUTS[language], dict[str, FieldPiece]()
    for one in pieces:
        if isinstance(one, FieldPiece):
            fields.setdefault(one.name, one)
    text = [piece for field in fields.values() for piece in (TextPiece(" "), field)][1:]
    pieces = (TextPiece(said.question), question, TextPiece(f"\n{said.text}"), *text, TextPiece(f"\n{said.answer}"))
    return Template((*pieces, SlotPiece()))


def documents(files: Iterable[str], *, characters: int, without: Iterable[str] = ()) -> tuple[Titled, ...]:
    """The documents of files of raw text (`FILE=WEIGHT` takes some of one) that have a title; see `titled`.

    Args:
        files: of text; a document's first line is its title.
        characters: of each document's text.
        without: files or folders of texts that are kept out, those one measures on.

    Raises:
        DataError: a file that can't be read.
    """
    known = Known([path for one in without for path in below(Path(one))])
    texts = (text for one in files for text in Corpus.parse(one).documents())
    return tuple(titled(texts, characters=characters, without=known))


def learned(
    prompt: Prompt, lm: LM, documents: Sequence[Titled], *, steps: int, batch: int, lr: float,
    loss_on: Literal["answer", "all"] = "answer", most: int = MOST, language: Language = "en", seed: int = 0,
    run: Run,
) -> tuple[Prompt, dict[str, float | int | str]]:  # fmt: skip
    """A prompt that picks titles, all weights trained for it, and what was measured on documents that were held out.

    Args:
        prompt: where it has weights, training starts there.
        lm: the model.
        documents: with titles; `HELD` of them are held out.
        steps: of training; a question is never seen twice.
        batch: questions a step.
        lr: the highest rate; it rises for a hundredth of the steps and falls linearly.
        loss_on: the mean over the tokens of the "answer" and its end, or over "all" that stands there.
        most: options of a question.
        language: of the questions.
        seed: of questions and batches.
        run: keeps checkpoints.

    Raises:
        DataError: too few documents.
        NeedsError: "all" of a model whose question isn't what it writes on from.
    """
    taught, held = parted(documents, HELD)
    questions = Titles(
        taught, seed=seed, passes=ceil(steps * batch / max(1, len(taught))), most=most, language=language
    )
    template = layout(language, FieldPiece("question", keep=True), [FieldPiece("text")])
    start = Prompt(template=template, words=Own(), parts={"weights": onto(full(lm), prompt.parts.get("weights"))})
    loss = Written(over="mean") if loss_on == "answer" else Everything()
    optim = Optim(lr=lr, weight_decay=0.01, schedule="linear", warmup=0.01)
    terms = [Term(questions, loss, batch=batch)]
    made = tune(start, lm, terms, optim={"weights": optim}, steps=steps, seed=seed, flat=None, run=run)
    figures: dict[str, float | int | str] = {"documents": len(taught), **run.figures}
    if len(held) > 1:
        asked = list(Titles(held, seed=seed, most=most, language=language))[:LOOKED]
        figures |= picked(made, lm, asked)
    return made, figures


def picked(prompt: Prompt, lm: LM, questions: Sequence[Example]) -> dict[str, float | int | str]:
    """How many questions there are, the share that guessing gets right, and of a prompt: scoring, writing, and valid.

    "scored" is the share whose right option is likeliest, "written" that whose right option is written, and "valid"
    that where any of the options is.
    """
    options = [[str(one) for one in _listed(example)] for example in questions]
    chosen = replace(prompt, view=Choices(field="options")).predict(lm, questions)
    said = [normal(str(one.value)) for one in prompt.predict(lm, questions, how=WRITTEN)]
    right = [normal(str(one.target)) for one in questions]
    scored = [one.value == example.target for one, example in zip(chosen, questions, strict=True)]
    valid = [one in map(normal, some) for one, some in zip(said, options, strict=True)]
    count = len(questions)
    shares = {
        "chance": sum(1 / len(some) for some in options) / count, "scored": sum(scored) / count,
        "written": sum(one == other for one, other in zip(said, right, strict=True)) / count,
        "valid": sum(valid) / count,
    }  # fmt: skip
    return {"looked": count, **{name: round(share, 4) for name, share in shares.items()}}


@dataclass(frozen=True)
class Everything:
    """Minus the mean log-probability of all tokens of a row but the first, its answer and the end included."""

    def key(self) -> str:
        """It has no settings."""
        return "everything"

    def __call__(self, prompt: Prompt, lm: LM, batch: Batch) -> Float[Tensor, " examples"]:
        """A number an example.

        Raises:
            NeedsError: a model that isn't causal.
        """
        if lm.kind != "causal":
            raise NeedsError(f"`{lm.name}` is {lm.kind}, and predicts no question", hint='loss_on="answer"')
        answers = [Written().tokens(prompt, lm, one) for one in batch.examples]
        lines = [Line(prompt.template, one) for one in batch.examples]
        rows = prompt.reader(lm).wide(lines, [1] * len(lines), [len(one) for one in answers])
        asked = [Places(tuple(range(len(row) - 1)), row.ids[1:]) for row in rows]
        jobs = [
            Job(row.then(answer), (Given(), places), prompt.parts)
            for row, answer, places in zip(rows, answers, asked, strict=True)
        ]
        return torch.stack([-torch.cat([one.values[0] for one in reading]).mean() for reading in lm.read(jobs)])


def _listed(example: Example) -> Sequence[object]:
    found = example.fields["options"]
    return found if isinstance(found, tuple) else ()
