"""DART: template and label words become vectors, and are trained together with the whole model.

Zhang, Li, Chen, Deng, Bi, Tan, Huang & Chen 2021, "Differentiable Prompt Makes Pre-trained Language Models Better
Few-shot Learners", arXiv:2108.13161.

Learns: a vector for each piece of the template's own words (parts `dart_0`, …), a row and a bias a label (part
`label_vectors`), and all weights of the model (part `weights`) unless it is `frozen`.
Needs: a masked model whose input vectors and output rows are one table, a template with one slot, label words, labelled
examples.
Relations: `pattern_tuning` trains the model under fixed words, and is where this begins; `warp` is the same with the
model frozen and without the fluency term. With `frozen=True` this is P-tuning with tied labels.
Differs: vectors of its own, not entries of the vocabulary that happen to be unused; a label's bias is copied with its
row; a label of several pieces starts from their mean; labels are put in under the same rows they are read by, which the
released code mixes up; the template is encoded as it stands, with no mark put between two texts. The model stays in
evaluation mode, the last step is kept, and rate and steps suit small models and few labels.

Example:
    >>> import promptatlas
    >>> promptatlas.method("dart", fluency=1.0).rate
    0.1
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, cast

from promptatlas.data.task import Task
from promptatlas.lm.lm import LM
from promptatlas.parts.weights import full
from promptatlas.prompting import Prompt
from promptatlas.score.soft import LabelVectors, rows_of
from promptatlas.train.fluency import Fluency
from promptatlas.train.loop import Term, tune
from promptatlas.train.loss import nll, nll_among_all
from promptatlas.train.needs import Needs
from promptatlas.train.optim import Optim
from promptatlas.train.run import Run
from promptatlas.train.soft import softened


@dataclass(frozen=True, kw_only=True)
class Dart:
    """Settings of DART.

    Attributes:
        fluency: weight of the fluency term, which doubles the work; 0, 0.5 and 1 were tried.
        rate: share of the text's tokens that it masks; 0, 0.05 and 0.1 were tried.
        among: what a label's probability is a share of: "labels", or the "vocabulary"; both were tried.
        frozen: leave the model as it is.
        steps: of training.
        batch: examples a step; 4, 8 and 16 were tried.
        lr: the highest learning rate, which falls linearly to zero.
        weight_decay: of vectors and weights, biases and gains excepted.
        warmup: share of the steps in which the rate rises.
        seed: of the batches, the labels put in and the masks.
    """

    fluency: float = 0.5
    rate: float = 0.1
    among: Literal["labels", "vocabulary"] = "labels"
    frozen: bool = False
    steps: int = 60
    batch: int = 8
    lr: float = 3e-4
    weight_decay: float = 0.01
    warmup: float = 0.05
    seed: int = 0

    name: ClassVar[str] = "dart"
    needs: ClassVar[Needs] = Needs(
        kinds=("masked",),
        can=("gradient", "weights"),
        splits=("train",),
        instead={"causal": ("pattern_tuning",), "seq2seq": ("pattern_tuning",), "train": ("contextual_calibration",)},
    )
    published: ClassVar[Mapping[str, object]] = {  # the released sample configuration
        "fluency": 0.0, "lr": 2e-5,
    }  # fmt: skip

    def fit(self, lm: LM, task: Task, prompt: Prompt, *, run: Run | None = None) -> Prompt:
        """Train vectors, labels and weights; those the prompt has under their names are where training starts."""
        run = run or Run()
        self.needs.check(self.name, lm, task, prompt)
        prompt = replace(prompt, calibration=())
        if not isinstance(prompt.words, LabelVectors):  # words are looked up before what is around them is softened
            rows = rows_of(prompt.words, lm, prompt.template, single=False)
            prompt = replace(prompt.plus(label_vectors=rows), words=LabelVectors(labels=prompt.labels))
        words = replace(cast(LabelVectors, prompt.words), among=self.among)
        prompt = softened(replace(prompt, words=words), lm, task.train[0].fields, self.name)
        trained = [words.part, *(part for part in prompt.template.parts if part.startswith(f"{self.name}_"))]
        if not self.frozen:
            prompt = prompt if "weights" in prompt.parts else prompt.plus(weights=full(lm))
            trained.append("weights")
        optim = Optim(lr=self.lr, weight_decay=self.weight_decay, schedule="linear", warmup=self.warmup)
        terms = [Term(task.train, nll if self.among == "labels" else nll_among_all, batch=self.batch)]
        if self.fluency:
            fluent = Fluency(self.rate, words.part)
            terms.append(Term(task.train, fluent, weight=self.fluency, batch=self.batch))
        tuned = tune(
            prompt, lm, terms, optim=dict.fromkeys(trained, optim), steps=self.steps, seed=self.seed, flat=None, run=run
        )
        return tuned.noted(lm, self, task.identity(), **run.figures)
