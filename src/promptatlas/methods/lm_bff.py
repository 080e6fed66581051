"""LM-BFF: all weights, through a template and words that are found, with a demonstration of each label in the context.

Gao, Fisch & Chen 2021, "Making Pre-trained Language Models Better Few-shot Learners", arXiv:2012.15723.

Learns: all weights (part `weights`); with `generator` the template, with `find_words` the label words.
Needs: labelled examples, two of each label to show one; dev examples to choose by, or it takes from the others.
Relations: `pattern_tuning` trains without search and demonstrations; `kate` shows examples to a model as it is.
Differs: demonstrations stand before the input, where causal models see them too; likeness is told by the model's own
states; candidates rank by loss, where accuracy ties; numbers have the paper's loss, not the released code's. No
dropout, and unless told the last step is kept; rates, steps, beams and candidates suit small models.

Example:
    >>> import promptatlas
    >>> promptatlas.method("lm_bff", find_words=True, draws=4).likely
    30
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Literal

from promptatlas.data.task import Task
from promptatlas.demos.pick import NoDemos
from promptatlas.lm.lm import LM
from promptatlas.prompting import Ensemble, Prompt
from promptatlas.score.words import Words
from promptatlas.search.propose import template_choices, word_choices
from promptatlas.text.template import Template
from promptatlas.train.demonstrated import demonstrated, taught
from promptatlas.train.needs import Needs
from promptatlas.train.run import Run
from promptatlas.train.select import ranked


@dataclass(frozen=True, kw_only=True)
class LMBFF:
    """Settings of LM-BFF.

    Attributes:
        generator: a seq2seq model that fills spans, by name or folder, to write templates (sec. 5.2); "": none.
        find_words: find label words (sec. 5.1); else the prompt's own.
        demonstrations: show one example a label (sec. 6).
        share: of a label's examples, those most like the input, that its demonstration is drawn from.
        draws: of demonstrations, averaged over when the prompt answers.
        beams: templates written.
        aggregate: how the generator's examples are averaged, see `search.write`.
        likely: words of each label that are combined.
        neighbours: of those, so many that are most like the prompt's own word; 0: all.
        candidates: combinations of words that are trained, for each template.
        kept: best templates that words are found for, where both are.
        trial_steps: of training a candidate.
        folds: to choose by, where there are no dev examples.
        members: the best candidates, each trained, that answer together.
        steps: of training.
        batch: examples a step.
        lr: the learning rate, which falls linearly to zero.
        keep: the "last" weights, or the "best" of ten looks at dev examples.
        seed: of batches and demonstrations.
    """

    generator: str = ""
    find_words: bool = False
    demonstrations: bool = True
    share: float = 0.5
    draws: int = 8
    beams: int = 20
    aggregate: Literal["logprob", "logit"] = "logprob"
    likely: int = 30
    neighbours: int = 0
    candidates: int = 20
    kept: int = 3
    trial_steps: int = 30
    folds: int = 4
    members: int = 1
    steps: int = 60
    batch: int = 8
    lr: float = 3e-4
    keep: Literal["last", "best"] = "last"
    seed: int = 0

    name: ClassVar[str] = "lm_bff"
    needs: ClassVar[Needs] = Needs(can=("gradient", "hidden", "weights"), splits=("train",), tasks=("label", "number"),
                                   parts={"weights": ("values",)}, instead={"gradient": ("in_context",)})  # fmt: skip
    published: ClassVar[Mapping[str, object]] = {  # rate and batch are of a grid: 1e-5, 2e-5, 5e-5 and 2, 4, 8
        "draws": 16, "beams": 100, "aggregate": "logit", "likely": 100, "candidates": 100, "kept": 10,
        "trial_steps": 1000, "steps": 1000, "batch": 4, "lr": 2e-5, "keep": "best",
    }  # fmt: skip

    def fit(self, lm: LM, task: Task, prompt: Prompt, *, run: Run | None = None) -> Prompt | Ensemble:
        """Find what is to be found, then train; weights the prompt has are where all training starts."""
        run = run or Run()
        self.needs.check(self.name, lm, task, prompt)
        some = [replace(prompt, demos=NoDemos(), calibration=())]
        trial: Any = replace(
            self, generator="", find_words=False, demonstrations=False, members=1, steps=self.trial_steps
        )
        rank = partial(ranked, lm=lm, task=task, method=trial, folds=self.folds, run=run)
        if self.generator:
            write = partial(template_choices, some[0], lm, self.generator, task.train)
            texts = run.stage("templates", partial(write, beams=self.beams, aggregate=self.aggregate))
            some = rank([replace(some[0], template=Template.parse(text)) for text in texts])
        if self.find_words:
            how = {"k": self.likely, "neighbours": self.neighbours, "count": self.candidates}
            find = [partial(word_choices, one, lm, task.train, **how) for one in some[: self.kept]]
            found = [run.stage(f"words-{at}", one) for at, one in enumerate(find)]
            pairs = [(one, words) for one, choices in zip(some, found, strict=False) for words in choices]
            some = rank([replace(one, words=Words.of(words)) for one, words in pairs])
        if self.members == 1:
            return self._tuned(lm, task, some[0], run)
        fits = (partial(self._tuned, lm, task, one, run) for one in some[: self.members])
        return Ensemble(prompts=tuple(run.stage(f"member-{at}", fit) for at, fit in enumerate(fits)))

    def _tuned(self, lm: LM, task: Task, start: Prompt, run: Run) -> Prompt:
        if self.demonstrations:
            start = demonstrated(start, lm, task, share=self.share, draws=self.draws, seed=self.seed)
        tuned = taught(start, lm, task, lr=self.lr, steps=self.steps, batch=self.batch, keep=self.keep, seed=self.seed,
                       run=run)  # fmt: skip
        return tuned.noted(lm, self, task.identity(), **run.figures)
