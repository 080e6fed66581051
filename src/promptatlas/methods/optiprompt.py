"""OptiPrompt: vectors between a subject and its object are trained for each relation, the model is frozen.

Zhong, Friedman & Chen 2021, "Factual Probing Is [MASK]: Learning vs. Learning to Recall", arXiv:2104.05240.

Learns: the vectors of one relation: `length` of them after the subject (part `opti_0`), or one a piece of the
relation's own template (`opti_0`, `opti_1`, …).
Needs: a masked model; facts as labelled examples, train and dev: the fields hold the subject, the label is the object.
Label words say which objects may be answered; those that are not one token are left out with their facts, and counted.
Relations: `autoprompt` finds real tokens for the same end, `prompt_tuning` trains vectors in front of any text. Report
the controls beside it: what it reaches with `control="all"` or "embeddings" was learned from the training facts, and so
was `dev_majority`, the training facts' commonest object.
Differs: the model stays in evaluation mode (the released code: dropout), AdamW corrects its bias, batches are shuffled,
no logits are added for the new vectors, a template may be of any length, and of equal accuracies on dev the lower loss
decides. The vectors are kept apart from the vocabulary.

Example:
    >>> import promptatlas
    >>> promptatlas.method("optiprompt", start="random").length
    5
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from promptatlas.data.task import Task
from promptatlas.lm.lm import LM
from promptatlas.parts.controls import redrawn
from promptatlas.parts.soften import fresh
from promptatlas.prompting import Prompt
from promptatlas.score.candidates import askable, candidates
from promptatlas.search.measure import measured
from promptatlas.text.pieces import FieldPiece
from promptatlas.text.template import Template
from promptatlas.train.loop import Term, tune
from promptatlas.train.loss import nll_among_all
from promptatlas.train.needs import Needs
from promptatlas.train.optim import Optim
from promptatlas.train.run import Run
from promptatlas.train.soft import softened


@dataclass(frozen=True, kw_only=True)
class OptiPrompt:
    """Settings of OptiPrompt. The defaults are the released code's.

    Attributes:
        start: "manual", the template's own words, punctuation too; or "random", `length` vectors between subject and
            object, "." behind.
        length: vectors, under "random".
        scale: deviation of random vectors, the model's own before pretraining.
        epochs: passes over the training facts.
        batch: facts a step.
        lr: the highest learning rate, which falls linearly to zero.
        warmup: share of the steps in which the rate rises.
        checks: measurements on the dev facts in an epoch; the best vectors are kept, those at the start among them.
        control: "all" or "embeddings": those weights of the model are drawn anew, as a part of the prompt; "" none.
        seed: of random vectors, of control weights and the batches.
    """

    start: Literal["manual", "random"] = "manual"
    length: int = 5
    scale: float = 0.02
    epochs: int = 10
    batch: int = 16
    lr: float = 3e-3
    warmup: float = 0.1
    checks: int = 3
    control: Literal["", "all", "embeddings"] = ""
    seed: int = 0

    name: ClassVar[str] = "optiprompt"
    needs: ClassVar[Needs] = Needs(
        kinds=("masked",),
        can=("gradient", "weights"),
        splits=("train", "dev"),
        instead={"causal": ("prompt_tuning",), "seq2seq": ("prompt_tuning",), "dev": ("prompt_tuning", "warp")},
    )
    published: ClassVar[Mapping[str, object]] = {"seed": 6}

    def fit(self, lm: LM, task: Task, prompt: Prompt, *, run: Run | None = None) -> Prompt:
        """Train the vectors and keep the best on dev; those the prompt has already are where training starts."""
        run = run or Run()
        self.needs.check(self.name, lm, task, prompt)
        words = candidates(prompt.words, lm, prompt.template)
        train, dev = askable(task.train, words, "train"), askable(task.dev, words, "dev")
        prompt = self._laid(lm, task, replace(prompt, words=words, calibration=()))
        trained = [part for part in prompt.template.parts if part.startswith("opti")]
        before = measured(prompt, lm, trained[0], [prompt.parts[trained[0]]], dev)[0].accuracy
        epoch = -(-len(train) // self.batch)
        tuned = tune(
            prompt, lm, [Term(train, nll_among_all, batch=self.batch)],
            optim=dict.fromkeys(trained, Optim(lr=self.lr, schedule="linear", warmup=self.warmup)),
            steps=self.epochs * epoch, seed=self.seed, dev=dev, keep="best", every=max(1, epoch // self.checks),
            flat=None, run=run,
        )  # fmt: skip
        figures = {**run.figures, "start_dev_accuracy": before}
        if round((float(figures["dev_accuracy"]) - before) * len(dev)) < 1:  # only what is better replaces the start
            tuned, figures["dev_accuracy"] = prompt, before
        ((common, _),) = Counter(one.target for one in train).most_common(1)
        figures["dev_majority"] = sum(one.target == common for one in dev) / len(dev)
        figures |= {"facts": len(train), "facts_left_out": len(task.train) - len(train)}
        return tuned.noted(lm, self, task.identity(), **figures)

    def _laid(self, lm: LM, task: Task, prompt: Prompt) -> Prompt:
        """The template with its vectors, and under a control the weights it is read with."""
        if self.control and "weights" not in prompt.parts:
            prompt = prompt.plus(weights=redrawn(lm, self.control, seed=self.seed))
        if any(part.startswith("opti") for part in prompt.template.parts):
            return prompt
        if self.start == "manual":
            return softened(prompt, lm, task.train[0].fields, "opti")
        subject = "".join(str(piece) for piece in prompt.template.pieces if isinstance(piece, FieldPiece))
        vectors = fresh(lm, "normal", self.length, seed=self.seed, scale=self.scale)
        return replace(prompt, template=Template.parse(f"{subject}{{@opti_0}} {{mask}} .")).plus(opti_0=vectors)
