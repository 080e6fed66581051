"""A mixture of soft prompts: several templates as vectors, and how much each counts, learned together; frozen model.

Qin & Eisner 2021, "Learning How to Ask: Querying LMs with Mixtures of Soft Prompts", arXiv:2104.06599.

Learns: of each template what is added to its words' vectors, at the input and behind every layer (part `perturb`), and
the weights of the mixture, by expectation and maximisation.
Needs: a masked model of BERT's kin, label words, train and dev examples; several templates do better than random ones.
Relations: `optiprompt` trains the vectors of one template; a saved `Ensemble(mix=True)` mixes any prompts. One template
alone, `layers=0`, is plain tuning of the vectors behind the embeddings.
Differs: a rate for few examples, at which something moves before patience ends; an optimiser a template, which starts
anew each epoch; one `pull` for all layers, not a factor for each of five groups; `heed` looks at each example on its
own, where the release weighs prompts by the whole set; answers are restricted to the label words. Random vectors stay
fixed and are moved by what is added, as there.

Example:
    >>> import promptatlas
    >>> promptatlas.method("soft_mixture", templates=("{text} All in all {mask}.",), random=0).layers
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from promptatlas.data.task import Task
from promptatlas.demos.pick import NoDemos
from promptatlas.lm.lm import LM
from promptatlas.parts.perturb import still
from promptatlas.parts.soften import positions
from promptatlas.prompting import Ensemble, Prompt
from promptatlas.train.em import Shared, accuracy, answered, effective, mixed_nll, responsible, weighed
from promptatlas.train.loop import Term, tune
from promptatlas.train.needs import Needs
from promptatlas.train.optim import Optim
from promptatlas.train.run import Event, Run
from promptatlas.train.soft import drawn, fitting, softened


@dataclass(frozen=True, kw_only=True)
class SoftMixture:
    """Settings of a mixture of soft prompts. Epochs, patience and batch are the release's.

    Attributes:
        templates: beside the prompt's own; those without its fields or its slot are left out with a warning.
        random: templates more, laid out as the prompt's own, of vectors drawn like the vocabulary's.
        layers: behind how many layers something is added: 0 at the input alone, None all; deep ones fit few examples
            too closely.
        pull: times the squared length of what is added, in the loss.
        heed: the temperature at which a template's own probability of the fields sways its weight; None not.
        epochs: the most; weights and responsibilities are refreshed in each.
        patience: epochs without a better mixture on dev after which training stops; the best is kept.
        batch: examples a step.
        lr: the learning rate.
        seed: of random vectors and the batches.
    """

    templates: tuple[str, ...] = ()
    random: int = 2
    layers: int | None = None
    pull: float = 0.0
    heed: float | None = None
    epochs: int = 16
    patience: int = 4
    batch: int = 32
    lr: float = 1e-2
    seed: int = 0

    name: ClassVar[str] = "soft_mixture"
    needs: ClassVar[Needs] = Needs(
        kinds=("masked",),
        can=("gradient",),
        splits=("train", "dev"),
        instead={"causal": ("prompt_tuning",), "seq2seq": ("prompt_tuning",), "dev": ("prompt_tuning", "warp")},
    )
    published: ClassVar[Mapping[str, object]] = {"random": 0, "lr": 1e-3, "seed": 42}  # mined templates

    def fit(self, lm: LM, task: Task, prompt: Prompt, *, run: Run | None = None) -> Ensemble:
        """Train the templates and their weights in turns; calibration and demonstrations are dropped."""
        run = run or Run()
        self.needs.check(self.name, lm, task, prompt)
        prompts = self._members(lm, task, replace(prompt, calibration=(), demos=NoDemos()))
        weights = torch.full((len(prompts),), 1 / len(prompts), dtype=torch.float64)
        right, idle, epoch = -1.0, 0, 0
        while True:
            mixture = Ensemble(prompts=tuple(prompts), weights=tuple(weights.tolist()), mix=True, heed=self.heed)
            now = accuracy(mixture, lm, task.dev)
            idle = 0 if now > right else idle + 1
            if now > right:
                best, right = mixture, now
            run.tell(Event("mixture", epoch, self.epochs, {"dev_accuracy": now, "prompts": effective(weights)}))
            if epoch == self.epochs or idle >= self.patience:
                break
            shares = responsible(answered(prompts, lm, task.train), weights)
            weights = weighed(shares)
            prompts = [
                tune(one, lm, [Term(task.train, Shared(mine), batch=self.batch)], optim={"perturb": Optim(lr=self.lr)},
                     steps=-(-len(task.train) // self.batch), seed=self.seed + epoch, flat=None, run=run)
                for one, mine in zip(prompts, shares.T, strict=True)
            ]  # fmt: skip
            epoch += 1
        kept = torch.tensor(best.weights, dtype=torch.float64)
        loss = mixed_nll(answered(best.prompts, lm, task.train), kept) / len(task.train)
        figures = {"epochs": epoch, "dev_accuracy": right, "loss": loss, "effective_prompts": effective(kept)}
        return replace(best, prompts=tuple(one.noted(lm, self, task.identity(), **figures) for one in best.prompts))

    def _members(self, lm: LM, task: Task, prompt: Prompt) -> list[Prompt]:
        """The prompt's own template, the given ones and the random ones, each with nothing added yet."""
        fields = task.train[0].fields
        soft = softened(prompt, lm, fields, "mix")
        own = soft if "perturb" in prompt.parts else self._still(lm, fields, soft)
        given = (replace(prompt, template=template) for template in fitting(self.templates, prompt))
        others = [softened(one, lm, fields, "mix") for one in given]
        others += [drawn(own, lm, "mix", self.seed + 1000 * at) for at in range(self.random)]
        return [own, *(self._still(lm, fields, one) for one in others)]

    def _still(self, lm: LM, fields: Mapping[str, object], one: Prompt) -> Prompt:
        """With a perturbation of all its vectors that adds nothing yet."""
        count = positions(lm, one.template, fields, parts=one.parts)
        return one.plus(perturb=still(lm, count, layers=self.layers, pull=self.pull))
