"""What one contender is worth on one task: fitted to `train`, measured on `test`."""

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from sklearn.feature_extraction.text import CountVectorizer
from sklearn.naive_bayes import MultinomialNB

from promptatlas.artifact.save import save, size
from promptatlas.data.example import Example, Target
from promptatlas.data.metric import measure
from promptatlas.data.task import Task
from promptatlas.errors import SettingError
from promptatlas.lm.cost import counted
from promptatlas.lm.lm import LM
from promptatlas.prompting import Ensemble, Prompt
from promptatlas.train.needs import Method, chained
from promptatlas.train.run import Run


@dataclass(frozen=True)
class Contender:
    """What takes part in a comparison.

    Attributes:
        name: for people.
        methods: applied one after the other to the first prompt; none: that prompt as it is.
    """

    name: str
    methods: tuple[Method, ...] = ()


@dataclass
class Clock:
    """Processor seconds of this process, all threads together: what else a machine does hardly shows in them."""

    seconds: float = field(default=0.0)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count what is done inside."""
        began = time.process_time()
        try:
            yield
        finally:
            self.seconds += time.process_time() - began


class Found(NamedTuple):
    """What was measured of a contender, the prompt it arrived at, and of every test example whether it was right."""

    figures: dict[str, float | int]
    prompt: Prompt | Ensemble
    hits: str


def measured(contender: Contender, lm: LM, task: Task, prompt: Prompt, *, begin: Callable[[], Run] = Run) -> Found:
    """Fit a contender to `train`, and measure it on `test`.

    Figures are the task's metric on `test`, `trained` (numbers that were trained), `stored` (bytes of the saved
    prompt), `seconds` (of the processor, to fit and to answer) and `answering` (operations an answer). Texts are
    written greedily, the likeliest token at a time.

    Args:
        contender: what takes part.
        lm: the language model.
        task: few labelled examples, and those to measure on.
        prompt: where the first method starts.
        begin: makes the run of its methods.

    Raises:
        SettingError: a method after one that makes an ensemble.
    """
    clock = Clock()
    with clock.running():
        learned = chained(contender.name, contender.methods, lm, task, prompt, run=begin())
        with counted(lm) as cost:
            answers = [one.value for one in learned.predict(lm, task.test)]
    trained = sum(int(step.figures.get("trained", 0)) for step in learned.history)
    with tempfile.TemporaryDirectory() as folder:
        stored = size(save(learned, Path(folder) / "prompt"))
    figures = _figures(task, answers, clock, trained, stored)
    return Found({**figures, "answering": cost.each(len(answers))["operations"]}, learned, _hits(task, answers))


def _hits(task: Task, answers: Sequence[Target]) -> str:
    if task.kind not in ("label", "choice") or task.metric != "accuracy":  # else they would tell of another measure
        return ""
    return "".join("1" if one == right.target else "0" for one, right in zip(answers, task.test, strict=True))


def majority(task: Task) -> tuple[dict[str, float | int], str]:
    """Figures and hits of always giving the commonest label (or tag) of `train`, the first of equals; a mean number."""
    clock = Clock()
    if task.kind == "number":
        numbers = [float(one.target) for one in task.train if isinstance(one.target, int | float)]
        return _figures(task, [sum(numbers) / len(numbers)] * len(task.test), clock, 0, 0), ""
    with clock.running():
        targets = [one.target for one in task.train]
        counts = Counter(str(one) for some in targets for one in (some if isinstance(some, tuple) else (some,)))
        commonest = max(task.labels, key=lambda label: counts[label])
        answers: list[Target] = [
            (commonest,) * len(one.target) if isinstance(one.target, tuple) else commonest for one in task.test
        ]
    return _figures(task, answers, clock, 0, 0), _hits(task, answers)


def naive_bayes(task: Task) -> tuple[dict[str, float | int], str]:
    """Figures and hits of scikit-learn's naive Bayes over counts of words; `stored` is its arrays and words.

    Raises:
        SettingError: a task of tags or numbers.
    """
    if task.kind in ("tags", "number"):
        has = "tags" if task.kind == "tags" else "numbers"
        raise SettingError(f"naive Bayes gives a text one label, and `{task.name}` has {has}", hint="leave it out")
    clock, counts, model = Clock(), CountVectorizer(), MultinomialNB()
    with clock.running():
        model.fit(counts.fit_transform(_texts(task.train)), [str(one.target) for one in task.train])
        answers = model.predict(counts.transform(_texts(task.test))).tolist()
    arrays = (model.feature_log_prob_, model.class_log_prior_)
    words = sum(len(word.encode()) for word in counts.vocabulary_)
    trained, stored = sum(one.size for one in arrays), sum(one.nbytes for one in arrays) + words
    return _figures(task, answers, clock, trained, stored), _hits(task, answers)


def _texts(examples: Sequence[Example]) -> list[str]:
    return [" ".join(str(value) for value in one.fields.values()) for one in examples]


def _figures(task: Task, answers: Sequence[Target], clock: Clock, trained: int, stored: int) -> dict[str, float | int]:
    value = score(task, task.test, answers)
    return {task.metric: value, "trained": trained, "stored": stored, "seconds": clock.seconds}


def score(task: Task, examples: Sequence[Example], answers: Sequence[Target]) -> float:
    """What these answers come to by the task's metric."""
    found = measure(task.kind, [one.target for one in examples], answers, labels=task.labels, none=task.none, samples=1)
    return found[task.metric].value
