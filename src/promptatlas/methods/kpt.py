"""KPT: many words a label, from a knowledge base, of which the model itself keeps those it knows to be meant.

Hu, Ding, Wang, Liu, Wang, Li, Wu & Sun 2022, "Knowledgeable Prompt-tuning: Incorporating Knowledge into Prompt
Verbalizer for Text Classification", arXiv:2108.02035.

Learns: which words of long lists are kept, and what each says whatever the text, which is divided out; with `train`, a
weight a word ("words"), and all weights of the model too ("all", part `weights`).
Needs: lists of words, in a file or as the prompt's own; texts, whose labels aren't looked at.
Relations: `contextual_calibration` divides by what inputs without content say; `petal` finds words by labelled
examples; `pattern_tuning` trains the model under words that count alike.
Differs: any kind of model; refining is the same with and without training; the model stays in evaluation mode; rate,
steps and batch suit small models. As in the official code, the prior is a mean of logits.

Example:
    >>> import promptatlas
    >>> promptatlas.method("kpt", lists="words.txt", order=("World", "Sports")).rare
    0.5
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from promptatlas.data.lists import read_lists
from promptatlas.data.task import Task
from promptatlas.data.view import One
from promptatlas.demos.pick import NoDemos
from promptatlas.errors import NeedsError
from promptatlas.lm.lm import LM
from promptatlas.parts.weights import full
from promptatlas.prompting import Prompt
from promptatlas.score.words import Words
from promptatlas.search.prior import any_texts
from promptatlas.search.refine import apart, calibrated, known, prior, refined, spoken
from promptatlas.train.needs import Needs
from promptatlas.train.optim import Optim
from promptatlas.train.run import Run
from promptatlas.train.weigh import weighed


@dataclass(frozen=True, kw_only=True)
class Kpt:
    """Settings of KPT.

    Attributes:
        lists: a file or folder of words by label (see `read_lists`), each label's own first; "": the prompt's words.
        order: labels in the order of the file's lines, where it doesn't name them; none: the task's order.
        tokens: what is read of a word of several tokens: the "first", or "mean" or "sum" over all, in as many masks.
        most_tokens: leaves out words of more tokens; 0: none.
        rare: words go that the model says as seldom as this share of its vocabulary; 0 suits sentiment.
        relevant: words go that aren't said where their label's first word is.
        calibrate: divide by what is said whatever the text; not with `train`.
        average: over a label's words, of their log-probabilities, or of their "probabilities", as in the paper.
        support: texts to refine and calibrate by.
        train: "none"; a weight a word: "words"; these and the model's weights: "all".
        steps: of training.
        batch: examples a step.
        lr: of the model's weights, which falls linearly to zero.
        words_lr: of the words' weights, which stays.
        seed: of texts and batches.
    """

    lists: str = ""
    order: tuple[str, ...] = ()
    tokens: Literal["first", "mean", "sum"] = "first"
    most_tokens: int = 0
    rare: float = 0.5
    relevant: bool = True
    calibrate: bool = True
    average: Literal["logs", "probabilities"] = "logs"
    support: int = 200
    train: Literal["none", "words", "all"] = "none"
    steps: int = 60
    batch: int = 8
    lr: float = 3e-4
    words_lr: float = 0.06
    seed: int = 0

    name: ClassVar[str] = "kpt"
    needs: ClassVar[Needs] = Needs(can=("logits",), words=False)
    published: ClassVar[Mapping[str, object]] = {"lr": 3e-5}

    def fit(self, lm: LM, task: Task, prompt: Prompt, *, run: Run | None = None) -> Prompt:
        """Refine the words, then calibrate or train; demonstrations and a calibration are dropped."""
        run = run or Run()
        more = {"none": (), "words": ("gradient",), "all": ("gradient", "weights")}[self.train]
        can = ("logits", "vocabulary") if self.rare else ("logits",)
        needs = replace(self.needs, can=(*can, *more), splits=("train",) if more else (), words=not self.lists)
        needs.check(self.name, lm, task, prompt)
        start = replace(prompt, demos=NoDemos(), calibration=(), view=One())
        words = apart(known(self._lists(task, prompt), lm, start, self.tokens, self.most_tokens))
        calibrate = self.calibrate and self.train == "none"
        texts = []
        if self.rare or self.relevant or calibrate:
            without = "give unlabeled examples, or set rare=0, relevant=false, calibrate=false"
            needed = f"`{self.name}` needs texts to refine and calibrate by"
            texts = any_texts(task, self.support, self.seed, needed, without)
        words, sizes = refined(words, lm, start, texts, self.tokens, rare=self.rare, relevant=self.relevant)
        rules = Words.of({label: [*some] for label, some in words.items()}, over_tokens=self.tokens)
        made = replace(start, words=replace(rules, over_words="mean_logit" if self.average == "logs" else "sum_prob"))
        if self.train != "none":
            whole = self.train == "all"
            tuned = start.plus(weights=full(lm)) if whole and "weights" not in start.parts else start
            others = {"weights": Optim(lr=self.lr, weight_decay=0.01, schedule="linear")} if whole else {}
            made = weighed(tuned, lm, rules, task.train, lr=self.words_lr, others=others, steps=self.steps,
                           batch=self.batch, seed=self.seed, run=run)  # fmt: skip
        elif calibrate:
            made = calibrated(made, rules, prior(spoken(start, lm, texts, rules)), logs=self.average == "logs")
        trained = run.figures if self.train != "none" else {}
        return made.noted(lm, self, task.identity(), **sizes, texts=len(texts), **trained)

    def _lists(self, task: Task, prompt: Prompt) -> Mapping[str, Sequence[str]]:
        own = prompt.words.words if isinstance(prompt.words, Words) else None
        found = read_lists(self.lists, self.order or task.labels) if self.lists else own
        if found is None:
            raise NeedsError(f"`{self.name}` refines words, and there are none", hint="give their file: lists=...")
        return {label: found[label] for label in task.labels}
