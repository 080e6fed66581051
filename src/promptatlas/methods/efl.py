"""EFL: every label is a sentence, and the model, which learned entailment first, tells whether it follows.

Wang, Fang, Khabsa, Mao & Ma 2021, "Entailment as Few-Shot Learner", arXiv:2104.14690.

Learns: all weights (part `weights`) and a head (part `head`) that tells from a text and a description whether the one
says the other; descriptions are kept in the prompt's view.
Needs: labelled examples, a description a label, and a start that learned entailment: few examples can't teach it.
Relations: `fine_tuning` trains a head of the labels themselves, with a row an example and not a row a label;
`pattern_tuning` asks for a label's word in place of its sentence.
Differs: no contrastive loss of augmented texts and no regression; log-odds of the labels are brought to sum to one. The
head reads the mean over tokens in a masked model, which stays in evaluation mode; rates, steps and batch suit small
models.

Example:
    >>> import promptatlas
    >>> efl = promptatlas.method("efl", start="none", descriptions={"up": "This is good.", "down": "This is bad."})
    >>> efl.negatives
    1
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

from promptatlas.artifact.load import load
from promptatlas.artifact.save import PROMPT
from promptatlas.data.read import read_task
from promptatlas.data.task import Task
from promptatlas.errors import SettingError
from promptatlas.lm.lm import LM
from promptatlas.prompting import Prompt
from promptatlas.prompting.headed import plain
from promptatlas.score.own import Own
from promptatlas.train.entailment import ask, loss, pose, tells
from promptatlas.train.loop import Term, tune
from promptatlas.train.needs import Needs
from promptatlas.train.optim import each
from promptatlas.train.run import Run


@dataclass(frozen=True, kw_only=True)
class EFL:
    """Settings of EFL.

    Attributes:
        start: what learned entailment: the folder of a saved prompt; a task of pairs, by name or path, to train on
            first; or "none".
        descriptions: label -> a sentence that says what it means; of two labels one is enough, the other is then what
            doesn't follow. None: what the prompt's template says with the label's word.
        entailed: of a task of two texts, the label under which the second follows from the first: no descriptions then.
        negatives: descriptions of other labels an example is paired with, drawn anew each time.
        label: what the start calls "it follows".
        pool: the state a fresh head reads: "first", "last", "mean", or "" for what suits the kind of model.
        steps: of training; 0: none, the start answers as it is.
        batch: examples a step.
        lr: the highest learning rate, of weights and a head that has learned; it falls linearly to zero.
        head_lr: of a fresh head.
        start_steps: of training on the start's task.
        start_batch: examples a step of it.
        seed: of a fresh head, the batches and the descriptions drawn.
    """

    start: str
    descriptions: Mapping[str, str] | None = None
    entailed: str = ""
    negatives: int = 1
    label: str = "entailment"
    pool: Literal["", "first", "last", "mean"] = ""
    steps: int = 100
    batch: int = 8
    lr: float = 3e-4
    head_lr: float = 1e-2
    start_steps: int = 1000
    start_batch: int = 16
    seed: int = 0

    name: ClassVar[str] = "efl"
    needs: ClassVar[Needs] = Needs(
        can=("gradient", "hidden", "weights"), splits=("train",), slot=False, words=False,
        instead={"gradient": ("in_context",), "train": ("contextual_calibration",)},
    )  # fmt: skip
    published: ClassVar[Mapping[str, object]] = {"pool": "first"}

    def fit(self, lm: LM, task: Task, prompt: Prompt, *, run: Run | None = None) -> Prompt:
        """Train weights and head on pairs; with "none", those of a prompt that tells entailment are where it starts."""
        run = run or Run()
        replace(self.needs, splits=("train",) if self.steps else ()).check(self.name, lm, task, prompt)
        asked = ask(task, prompt, self.descriptions or {}, self.entailed)
        start = self._start(lm, prompt, run)
        posed = pose(prompt, lm, asked, start, task.labels, label=self.label, pool=self.pool or None, seed=self.seed)
        if self.steps:
            learned = start is not None and posed.parts["head"] is start.parts["head"]
            rates = {"weights": self.lr, "head": self.lr if learned else self.head_lr}
            optim = each(rates, weight_decay=0.01, schedule="linear")
            terms = [Term(task.train, loss(posed, self.negatives), batch=self.batch)]
            posed = tune(posed, lm, terms, optim=optim, steps=self.steps, seed=self.seed, flat=None, run=run)
        return posed.noted(lm, self, task.identity(), **(run.figures if self.steps else {}))

    def _start(self, lm: LM, prompt: Prompt, run: Run) -> Prompt | None:
        """What learned entailment; None: nothing did."""
        if self.start == "none":
            return prompt if tells(prompt, self.label) else None
        if (Path(self.start) / PROMPT).is_file():
            found = load(self.start)
        else:
            pairs = read_task(self.start)
            first = Prompt(template=plain(pairs.fields[:2]), words=Own())
            learn = replace(self, start="none", descriptions=None, entailed=self.label)
            learn = replace(learn, steps=self.start_steps, batch=self.start_batch)
            found = run.stage("start", lambda: learn.fit(lm, pairs, first, run=run))
        if not isinstance(found, Prompt) or not tells(found, self.label):
            raise SettingError(
                f"the start `{self.start}` tells no `{self.label}` by weights and a head of its own",
                hint='fit one on a task of pairs and save it: `efl` with start="none", entailed="entailment"',
            )
        found.check(lm)
        return found
