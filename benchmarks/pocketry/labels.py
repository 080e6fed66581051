"""Label words: zero-shot, pattern tuning with its rate chosen on the training examples, and demonstrations."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from pocketry.cells import Figures
from promptatlas import registry
from promptatlas.data.draw import few_shot
from promptatlas.data.example import Example
from promptatlas.data.read import read_task
from promptatlas.data.task import Task
from promptatlas.lm.lm import LM
from promptatlas.prompting import Prompt
from promptatlas.prompting.make import prompt

SHOTS, DEMOS, DRAW = 16, 8, 0  # training examples a class; demonstrations; the seed that draws test examples
RATES, STEPS, BATCH, FOLDS = (1e-4, 3e-4, 1e-3), 60, 8, 4  # of pattern tuning: rates tried; the rest is fixed


@dataclass(frozen=True)
class Patterns:
    """A data set's templates, the first of which is tuned, and its label words.

    A masked or seq2seq model is asked with `templates`, a causal one, which needs its slot last, with `causal`.
    """

    templates: tuple[str, ...]
    causal: tuple[str, ...]
    words: Mapping[str, str]

    def of(self, kind: str) -> tuple[str, ...]:
        """Those for a kind of model."""
        return self.causal if kind == "causal" else self.templates


SENTIMENT = Patterns(
    ("{text} It was {mask}.", "{text} A {mask} movie.", "This is {mask}: {text}"),
    ("{text} It was {mask}", "{text} The movie was {mask}", "Review: {text} Sentiment: {mask}"),
    {"negative": "terrible", "positive": "great"},
)
ENGLISH: Mapping[str, Patterns] = {
    "sst2": SENTIMENT,
    "mr": SENTIMENT,
    "ag_news": Patterns(
        ("{mask} news: {text}",),
        ("{text} Topic: {mask}", "{text} This news is about {mask}"),
        {"Business": "business", "Sci/Tech": "technology", "Sports": "sports", "World": "world"},
    ),
    "subj": Patterns(  # words as in benchmarks/foundation.py, chosen on train
        ("{text} This is {mask}.",), ("{text} This is {mask}",), {"objective": "true", "subjective": "great"}
    ),
}
TOPICS = (
    "农业", "文化", "电竞", "体育", "财经", "娱乐", "军事", "科技", "汽车", "房产", "国际", "教育", "旅游", "股票",
    "故事",
)  # fmt: skip
CHINESE: Mapping[str, Patterns] = {
    "fewclue_eprstmt": Patterns(
        ("{text}这很{mask}。", "很{mask}。{text}"), ("{text}这很{mask}", "{text}总之很{mask}"),
        {"negative": "差", "positive": "好"},
    ),
    "fewclue_tnews": Patterns(
        ("{mask}新闻：{text}", "{text}这是{mask}新闻。"), ("{text}主题：{mask}", "{text}这条新闻说的是{mask}"),
        {one: one for one in TOPICS},
    ),
}  # fmt: skip
PATTERNS: Mapping[str, Patterns] = {**ENGLISH, **CHINESE}


def read(folder: Path, most: int) -> Task:
    """A data set: a fixed draw of its test examples, and a title, where there is one, put before the text."""
    task = read_task(folder)
    test = few_shot(task.test, min(most, len(task.test)), DRAW).drawn
    return replace(task, fields=("text",), train=_texts(task.train), dev=(), test=_texts(test), unlabeled=())


def _texts(examples: Sequence[Example]) -> tuple[Example, ...]:
    return tuple(replace(one, fields={"text": _text(one.fields)}) for one in examples)


def _text(fields: Mapping[str, object]) -> str:
    return " ".join(str(fields[name]) for name in ("title", "text") if name in fields)


def share(name: str, right: Sequence[bool]) -> dict[str, float]:
    """A share and its standard error."""
    p = sum(right) / len(right)
    return {name: p, f"{name} se": math.sqrt(p * (1 - p) / len(right))}


def asked(lm: LM, start: Prompt, task: Task) -> Figures:
    """Accuracy of a prompt as it is, and calibrated, from one reading of the test examples."""
    calibrated = registry.method("contextual_calibration").fit(lm, task, start)
    assert isinstance(calibrated, Prompt)
    with torch.no_grad():
        mass = replace(calibrated, calibration=()).mass(lm, task.test)
        after = calibrated.calibration[0].apply(mass, None)
    wanted = [start.labels.index(str(one.target)) for one in task.test]
    plain, better = ([a == b for a, b in zip(one.argmax(-1).tolist(), wanted, strict=True)] for one in (mass, after))
    return {**share("value", plain), **share("calibrated", better), "n": len(wanted)}


def zero(lm: LM, task: Task, template: str, words: Mapping[str, str]) -> Figures:
    """Zero-shot."""
    return asked(lm, prompt(template, words), task)


def demos(lm: LM, task: Task, template: str, words: Mapping[str, str], *, k: int, seed: int, most: int) -> Figures:
    """With k demonstrations of a draw of 16 a class, on the first `most` test examples; k = 0 is none."""
    few = replace(task, test=task.test[:most])
    start = prompt(template, words)
    if k:
        few = replace(few.few(SHOTS, seed, dev=0), unlabeled=())
        shown = registry.method("in_context", k=k, seed=seed).fit(lm, few, start)
        assert isinstance(shown, Prompt)
        start = shown
    return asked(lm, start, few)


def tuned(lm: LM, task: Task, template: str, words: Mapping[str, str], *, seed: int) -> Figures:
    """Pattern tuning on 16 a class; its rate is the best of four folds of these, and nothing else is looked at."""
    few = replace(task.few(SHOTS, seed, dev=0), unlabeled=())
    start = prompt(template, words)
    rate = max(RATES, key=lambda one: crossed(lm, few, start, one, seed))
    answers = _tune(lm, few, start, rate, seed).predict(lm, few.test)
    right = [answer.value == one.target for answer, one in zip(answers, few.test, strict=True)]
    return {**share("value", right), "n": len(right), "rate": rate}


def _tune(lm: LM, task: Task, start: Prompt, rate: float, seed: int) -> Prompt:
    method = registry.method("pattern_tuning", lr=rate, steps=STEPS, batch=BATCH, seed=seed)
    learned = method.fit(lm, task, start)
    assert isinstance(learned, Prompt)
    return learned


def crossed(lm: LM, few: Task, start: Prompt, rate: float, seed: int) -> tuple[float, float]:
    """Accuracy over held-out folds of the training examples, then their mean log-probability, to break ties."""
    right, logp = [], []
    for rest, held in divided(few.train, FOLDS):
        learned = _tune(lm, replace(few, train=rest, test=()), start, rate, seed)
        with torch.no_grad():
            scores = learned.score(lm, held)
        for one, row in zip(held, scores, strict=True):
            at = start.labels.index(str(one.target))
            right.append(int(row.argmax()) == at)
            logp.append(float(row[at]))
    return sum(right) / len(right), sum(logp) / len(logp)


def divided(examples: Sequence[Example], count: int) -> Iterator[tuple[tuple[Example, ...], tuple[Example, ...]]]:
    """Each fold held out once, after the rest: every label is dealt out evenly, in the order given."""
    dealt: dict[object, int] = {}
    fold = []
    for one in examples:
        dealt[one.target] = dealt.get(one.target, -1) + 1
        fold.append(dealt[one.target] % count)
    for now in range(count):
        pairs = list(zip(examples, fold, strict=True))
        yield tuple(one for one, at in pairs if at != now), tuple(one for one, at in pairs if at == now)
