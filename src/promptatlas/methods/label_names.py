"""Label names: words for labels out of nothing but what the labels are called, without a labelled example.

Schick, Schmid & Schütze 2020, "Automatically Identifying Words That Can Serve as Labels for Few-Shot Text
Classification", arXiv:2010.13641: its likelihood ratio. Ours: that labels are guessed.

Learns: several words a label, kept in the prompt's words, and how often each label is said whatever the text.
Needs: a template with one slot and, but for `by="vectors"` or a lexicon without `calibrate`, texts without labels; no
label words.
Relations: `petal` does the same with labelled examples; `kpt` refines words of a lexicon further; `pattern_tuning` or
`pet` go on from the words.
Differs: labels are taken to be about as common as each other in the texts, both where they are guessed and where
scores are calibrated.

Example:
    >>> import promptatlas
    >>> promptatlas.method("label_names", by="vectors", words=5).calibrate
    True
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from promptatlas.data.example import Example
from promptatlas.data.lists import read_lists
from promptatlas.data.task import Task
from promptatlas.data.view import One
from promptatlas.demos.pick import NoDemos
from promptatlas.errors import SettingError
from promptatlas.lm.lm import LM
from promptatlas.prompting import Prompt
from promptatlas.score.words import Words
from promptatlas.search.names import guessed, levelled_prior, nearest, own_words
from promptatlas.search.pool import heard, pool
from promptatlas.search.prior import any_texts
from promptatlas.search.refine import apart, known
from promptatlas.search.words import best, named, scored
from promptatlas.train.needs import Needs
from promptatlas.train.run import Run


@dataclass(frozen=True, kw_only=True)
class LabelNames:
    """Settings of label names.

    Attributes:
        by: how words are found: by the "prediction" of texts with the names' own words, then likelihood ratios; by the
            input "vectors" nearest the name's; out of a "lexicon"; or "names": the names' own words and no more.
        words: a label; of a lexicon all.
        lexicon: of `by="lexicon"`: a file or folder of words by label (see `read_lists`).
        calibrate: divide out how often each label is said over the texts.
        temperature: of what is guessed; below 1 a guess is surer.
        most: words that are looked at, the commonest in the task's texts; 0: all.
        likely: of these, those the model says most where it guesses a label; 0: all.
        texts: read at most, drawn at random.
        seed: of that.
    """

    by: Literal["prediction", "vectors", "lexicon", "names"] = "prediction"
    words: int = 10
    lexicon: str = ""
    calibrate: bool = True
    temperature: float = 1.0
    most: int = 10_000
    likely: int = 1000
    texts: int = 500
    seed: int = 0

    name: ClassVar[str] = "label_names"
    needs: ClassVar[Needs] = Needs(can=("logits", "vocabulary"), words=False)
    published: ClassVar[Mapping[str, object]] = {}

    def fit(self, lm: LM, task: Task, prompt: Prompt, *, run: Run | None = None) -> Prompt:
        """Find words for the task's labels; those of the prompt, demonstrations and a calibration are dropped."""
        more = {"prediction": ("vocabulary",), "vectors": ("vectors",)}.get(self.by, ())
        replace(self.needs, can=("logits", *more)).check(self.name, lm, task, prompt)
        names = own_words(lm, task.labels, prompt.template)
        start = replace(prompt, words=names, demos=NoDemos(), calibration=(), view=One())
        texts = []
        if self.calibrate or self.by == "prediction":
            without = 'give unlabeled examples, or set by="vectors" and calibrate=false'
            texts = any_texts(task, self.texts, self.seed, f"`{self.name}` needs texts without labels", without)
        found, why = (names, {}) if self.by == "names" else self._found(lm, task, start, names, texts)
        made = replace(start, words=found)
        if self.calibrate:
            made = replace(made, calibration=(levelled_prior(made, lm, texts),))
        return made.noted(lm, self, task.identity(), texts=len(texts), **why)

    def _found(
        self, lm: LM, task: Task, start: Prompt, names: Words, texts: list[Example]
    ) -> tuple[Words, dict[str, str]]:
        if self.by == "lexicon":
            if not self.lexicon:
                raise SettingError("`by` is `lexicon`, and there is none", hint="give its file: lexicon=...")
            lists = apart(known(read_lists(self.lexicon, task.labels), lm, start, "first"))
            return Words.of({label: [*some] for label, some in lists.items()}, over_tokens="first"), {}
        words = pool(lm, start.template, examples=(*task.unlabeled, *task.train), most=self.most)
        if self.by == "vectors":
            scores = nearest(lm, names, start.template, words)
            chosen = best(scores, scores, self.words, 0)
            every = [*words]
            found = {label: [every[at] for at in some] for label, some in zip(task.labels, chosen, strict=True)}
            return Words.of(found), {}
        evidence = heard(start, lm, texts, guessed(start, lm, texts, self.temperature), words)
        scores = scored(evidence, task.labels, "llr")
        chosen = best(scores, evidence.said, self.words, self.likely)
        listed, why = named(chosen, scores, evidence, task.labels, [*words], self.words)
        return Words.of(listed), why
