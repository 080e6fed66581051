"""Zero-shot classification by choosing: labels are options of a question, and the model says the one that fits.

Puri & Catanzaro 2019, "Zero-shot Text Classification With Generative Language Models", arXiv:1912.10165.

Learns: nothing of the task; before it all weights (part `weights`), by raw text: which of several titles is a text's.
Needs: a description a label (their names, where none are given); a model that writes; documents with titles, or a
saved prompt that learned from some.
Relations: `efl` asks whether a description follows, one at a time, and is taught that by labels; `label_names` puts
labels' names where a word is read.
Differs: labels are scored, unless `answer="write"`, the paper's way, which may say what no label is called. No new
tokens, no segments and no second table of positions (a re-implementation's): lines of text stand in their place. A
text's title is its first line, where the paper has what people wrote on links to it. The rate falls linearly.

Example:
    >>> import promptatlas
    >>> promptatlas.method("zero_shot_generative", descriptions={"up": "Good Film", "down": "Bad Film"}).answer
    'sum'
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

from promptatlas.artifact.load import load
from promptatlas.artifact.save import PROMPT
from promptatlas.data.questions import Language, asked, named, question
from promptatlas.data.task import Task
from promptatlas.data.view import One
from promptatlas.demos.pick import NoDemos
from promptatlas.errors import NeedsError, SettingError
from promptatlas.lm.activations import ending
from promptatlas.lm.lm import LM
from promptatlas.prompting import Prompt
from promptatlas.score.phrases import Phrases
from promptatlas.text.pieces import TextPiece
from promptatlas.train.needs import Needs
from promptatlas.train.run import Run
from promptatlas.train.titles import documents, layout, learned


@dataclass(frozen=True, kw_only=True)
class ZeroShotGenerative:
    """Settings of zero-shot classification by choosing.

    Attributes:
        start: what learned to choose: the folder of a saved prompt; or files of raw text to learn from first, each
            document's first line its title; or both, to go on learning. None: the weights there are, as they are.
        descriptions: label -> what it is called as an option; others are called by their names.
        answer: "sum", "mean" or "trie", how a description is scored (see `Phrases`); or "write", greedily: what is no
            description is then no answer, and `why` says what was written.
        question: the number of the question's wording: accuracy hangs on it, and a mean over all is the fair figure.
        language: "en" has 26 wordings, "zh" 13.
        without: files whose texts are kept out of `start`'s, those one measures on.
        steps: of learning from raw text (the paper: once over it).
        batch: questions a step.
        lr: the highest learning rate (the paper's is for 117 million weights).
        characters: of a document's text (the paper: 512 tokens in all).
        most: options of a question.
        loss_on: the "answer" and its end, or "all" tokens (the re-implementation).
        seed: of the options' order, of questions and batches.
    """

    start: tuple[str, ...] = ()
    descriptions: Mapping[str, str] | None = None
    answer: Literal["sum", "mean", "trie", "write"] = "sum"
    question: int = 0
    language: Language = "en"
    without: tuple[str, ...] = ()
    steps: int = 1000
    batch: int = 16
    lr: float = 3e-4
    characters: int = 400
    most: int = 15
    loss_on: Literal["answer", "all"] = "answer"
    seed: int = 0

    name: ClassVar[str] = "zero_shot_generative"
    needs: ClassVar[Needs] = Needs(kinds=("causal", "seq2seq"), can=("generate",), slot=False, words=False)
    published: ClassVar[Mapping[str, object]] = {"answer": "write", "batch": 32, "lr": 3e-5, "characters": 2000}

    def fit(self, lm: LM, task: Task, prompt: Prompt, *, run: Run | None = None) -> Prompt:
        """Ask the task as a question whose options are its labels' descriptions. NeedsError: texts have no end."""
        run = run or Run()
        trained = ("gradient", "weights") if self.start else ()
        replace(self.needs, can=(*self.needs.can, *trained)).check(self.name, lm, task, prompt)
        if not ending(lm):
            raise NeedsError(f"`{self.name}` needs an end mark, and `{lm.name}` has none", hint="take another model")
        words = Phrases(texts=named(task.labels, self.descriptions or {}), by=self.answer)
        options = random.Random(str(self.seed)).sample(list(words.texts.values()), len(task.labels))
        told = TextPiece(asked(question(self.language, self.question), options))
        template = layout(self.language, told, prompt.template.pieces)
        made = replace(prompt, template=template, words=words, view=One(), demos=NoDemos(), calibration=())
        if self.start:
            start = self._start(lm, prompt, run)
            made = replace(made, parts=start.parts, history=(*prompt.history, *start.history))
        return made.noted(lm, self, task.identity())

    def _start(self, lm: LM, prompt: Prompt, run: Run) -> Prompt:
        """What learned to choose, before or now."""
        if not (Path(self.start[0]) / PROMPT).is_file():
            return run.stage("start", partial(self._learned, lm, replace(prompt, history=()), self.start, run))
        found = load(self.start[0])
        if not isinstance(found, Prompt) or "weights" not in found.parts:
            raise SettingError(f"`{self.start[0]}` has no weights that learned", hint="give files of raw text")
        found.check(lm)
        files = self.start[1:]
        return run.stage("start", partial(self._learned, lm, found, files, run)) if files else found

    def _learned(self, lm: LM, begun: Prompt, files: tuple[str, ...], run: Run) -> Prompt:
        """A prompt that picks the titles of these texts."""
        made, figures = learned(
            begun, lm, documents(files, characters=self.characters, without=self.without), steps=self.steps,
            batch=self.batch, lr=self.lr, loss_on=self.loss_on, most=self.most, language=self.language, seed=self.seed,
            run=run,
        )  # fmt: skip
        return replace(made, history=begun.history).noted(lm, self, "titles", **figures)
