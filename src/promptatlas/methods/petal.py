"""PETAL: label words that tell labels apart are found by what the model says of the few labelled examples.

Schick, Schmid & Schütze 2020, "Automatically Identifying Words That Can Serve as Labels for Few-Shot Text
Classification", arXiv:2010.13641.

Learns: several words a label, kept in the prompt's words; no weight is trained.
Needs: labelled examples of every label and a template with one slot; no label words: those the prompt has are dropped.
Relations: `pattern_tuning`, `pet` or any other method goes on from the words; `autoprompt` finds words by a probe.
Differs: any kind of model, and Chinese, where a single character is a word; a word stands for one label only, that of
its larger score; the patterns are read as they are, not as one segment; no dropout. Words are common or rare by the
task's texts without labels and those it learns from.

Example:
    >>> import promptatlas
    >>> promptatlas.method("petal", words=3, patterns=("Just {mask}! {text}",)).score
    'llr'
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from typing import ClassVar, Literal

import torch

from promptatlas.data.task import Task
from promptatlas.data.view import One
from promptatlas.demos.pick import NoDemos
from promptatlas.lm.lm import LM
from promptatlas.prompting import Ensemble, Prompt
from promptatlas.prompting.make import check_fit
from promptatlas.score.own import Own
from promptatlas.score.words import Words
from promptatlas.search.measure import targets
from promptatlas.search.pool import heard, pool
from promptatlas.search.words import Evidence, best, named, scored
from promptatlas.text.template import Template
from promptatlas.train.needs import Needs
from promptatlas.train.run import Event, Run


@dataclass(frozen=True, kw_only=True)
class Petal:
    """Settings of PETAL.

    Attributes:
        words: a label.
        score: "llr", the likelihood ratio; "ce", cross-entropy, which common words win; "random", a baseline.
        balanced: a label's examples count as much as all others together.
        patterns: templates beside the prompt's own.
        joint: all patterns share the words, and the prompt keeps its own; else each has words of its own, and the
            prompts for them answer together.
        most: words that are looked at, the commonest in the task's texts; 0: all.
        likely: of these, a label's likeliest in its own examples; 0: all.
        without: words that may not be taken, whatever their case.
        seed: of random words.
    """

    words: int = 10
    score: Literal["llr", "ce", "random"] = "llr"
    balanced: bool = True
    patterns: tuple[str, ...] = ()
    joint: bool = True
    most: int = 10_000
    likely: int = 1000
    without: tuple[str, ...] = ()
    seed: int = 0

    name: ClassVar[str] = "petal"
    needs: ClassVar[Needs] = Needs(
        can=("logits", "vocabulary"), splits=("train",), words=False, instead={"train": ("label_names", "kpt")}
    )  # fmt: skip
    published: ClassVar[Mapping[str, object]] = {"joint": False}

    def fit(self, lm: LM, task: Task, prompt: Prompt, *, run: Run | None = None) -> Prompt | Ensemble:
        """Read the examples once a pattern, with the prompt's parts; demonstrations and calibration are dropped."""
        run = run or Run()
        self.needs.check(self.name, lm, task, prompt)
        blank = replace(prompt, words=Own(), demos=NoDemos(), calibration=(), view=One())
        starts = [replace(blank, template=one) for one in (prompt.template, *map(Template.parse, self.patterns))]
        for one in starts:
            check_fit(one, task, words=False)
        texts = (*task.unlabeled, *task.train)
        pools = [pool(lm, one.template, examples=texts, most=self.most, without=self.without) for one in starts]
        if self.joint:
            pools = [{word: one[word] for word in pools[0] if all(word in some for some in pools)} for one in pools]
        right = torch.tensor(targets(task.labels, task.train))
        shares = torch.nn.functional.one_hot(right, len(task.labels)).float()
        found: list[Evidence] = []
        for at, (start, words) in enumerate(zip(starts, pools, strict=True)):
            run.check("search", at, len(starts))
            with run.counted():
                found.append(heard(start, lm, task.train, shares, words))
            run.tell(Event("search", at + 1, len(starts)))
        if self.joint:
            return self._worded(lm, task, starts[0], reduce(add, found), [*pools[0]])
        made = [
            self._worded(lm, task, one, some, [*words]) for one, some, words in zip(starts, found, pools, strict=True)
        ]
        return made[0] if len(made) == 1 else Ensemble(prompts=tuple(made))

    def _worded(self, lm: LM, task: Task, start: Prompt, found: Evidence, names: Sequence[str]) -> Prompt:
        """The prompt with the words that the evidence is for."""
        if self.score == "random":
            draw = torch.Generator().manual_seed(self.seed)
            scores, most = torch.rand(found.said.shape, generator=draw), 0
        else:
            scores, most = scored(found, task.labels, self.score, balanced=self.balanced), self.likely
        chosen = best(scores, found.said, self.words, most)
        words, why = named(chosen, scores, found, task.labels, names, self.words)
        made = replace(start, words=Words.of(words))
        return made.noted(lm, self, task.identity(), candidates=len(names), clamped=found.clamped, **why)
