"""What one contender is worth on one task: fitted to `train`, measured on `test`."""

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sklearn.feature_extraction.text import CountVectorizer
from sklearn.naive_bayes import MultinomialNB

from promptatlas.artifact.save import save, size
from promptatlas.data.example import Example, Target
from promptatlas.data.metric import measure
from promptatlas.data.task import Task
from promptatlas.lm.lm import LM
from promptatlas.prompting import Ensemble, Prompt
from promptatlas.train.needs import Method, chained
from promptatlas.train.run import Event, Run


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


def measured(
    contender: Contender, lm: LM, task: Task, prompt: Prompt, *, listen: Callable[[Event], None] | None = None
) -> tuple[dict[str, float | int], Prompt | Ensemble]:
    """The figures of a contender, and the prompt it arrived at.

    Figures are the task's metric on `test`, `trained` (numbers that were trained), `stored` (bytes of the saved prompt)
    and `seconds` (of the processor, to fit and to answer).

    Raises:
        SettingError: a method after one that makes an ensemble.
    """
    clock = Clock()
    with clock.running():
        learned = chained(contender.name, contender.methods, lm, task, prompt, run=Run(listen=listen))
        answers = [one.value for one in learned.predict(lm, task.test)]
    trained = sum(int(step.figures.get("trained", 0)) for step in learned.history)
    with tempfile.TemporaryDirectory() as folder:
        stored = size(save(learned, Path(folder) / "prompt"))
    return _figures(task, answers, clock, trained, stored), learned


def majority(task: Task) -> dict[str, float | int]:
    """The figures of always giving the commonest label of `train`, the first of equals."""
    clock = Clock()
    with clock.running():
        counts = Counter(str(one.target) for one in task.train)
        commonest = max(task.labels, key=lambda label: counts[label])
    return _figures(task, [commonest] * len(task.test), clock, 0, 0)


def naive_bayes(task: Task) -> dict[str, float | int]:
    """The figures of scikit-learn's multinomial naive Bayes over counts of words; `stored` is its arrays and words."""
    clock, counts, model = Clock(), CountVectorizer(), MultinomialNB()
    with clock.running():
        model.fit(counts.fit_transform(_texts(task.train)), [str(one.target) for one in task.train])
        answers = model.predict(counts.transform(_texts(task.test))).tolist()
    arrays = (model.feature_log_prob_, model.class_log_prior_)
    words = sum(len(word.encode()) for word in counts.vocabulary_)
    return _figures(task, answers, clock, sum(one.size for one in arrays), sum(one.nbytes for one in arrays) + words)


def _texts(examples: Sequence[Example]) -> list[str]:
    return [" ".join(str(value) for value in one.fields.values()) for one in examples]


def _figures(task: Task, answers: Sequence[Target], clock: Clock, trained: int, stored: int) -> dict[str, float | int]:
    found = measure(task.kind, [one.target for one in task.test], answers, labels=task.labels, samples=1)
    return {task.metric: found[task.metric].value, "trained": trained, "stored": stored, "seconds": clock.seconds}
