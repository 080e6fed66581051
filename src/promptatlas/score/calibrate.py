"""Calibration: label scores corrected by what the model says where there is nothing to say, or only the domain."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Protocol, get_args, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from promptatlas.data.example import Example
from promptatlas.errors import ModelError, SettingError, TemplateError, near
from promptatlas.text.template import Template

Mode = Literal["diag", "identity"]
Reduce = Literal["mean", "min"]
SMALLEST = 1e-12  # a prior that can still be divided by


@dataclass(frozen=True)
class Null:
    """A row without the input: what a calibration wants scored beside an example.

    Attributes:
        template: what it is shown in.
        example: what is shown.
        demos: whether the example's own demonstrations stand before it.
    """

    template: Template
    example: Example
    demos: bool = True


@runtime_checkable
class Calibration(Protocol):
    """Label scores to better label scores."""

    kind: ClassVar[str]
    version: ClassVar[int]

    @property
    def proper(self) -> bool:
        """Whether log-probabilities come out; otherwise they are scores that only rank."""

    def nulls(self, example: Example, template: Template) -> tuple[Null, ...]:
        """The rows it needs scored now; none where it has stored what it needs."""

    def apply(
        self, mass: Float[Tensor, "examples labels"], null: Float[Tensor, "examples nulls labels"] | None
    ) -> Float[Tensor, "examples labels"]:
        """Corrected scores.

        Args:
            mass: log mass of each label, not normalised over labels.
            null: the same of each example's nulls; None where there were none.
        """

    def config(self) -> dict[str, Any]:
        """JSON that, with the tensors, rebuilds it."""

    def tensors(self) -> Mapping[str, Tensor]:
        """What was learned."""

    @classmethod
    def build(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "Calibration":
        """The calibration again."""


@dataclass(frozen=True, kw_only=True)
class Divide:
    """Probabilities divided by those of inputs without content (Zhao et al. 2021, arXiv:2102.09690).

    The placeholders' probabilities are averaged as they are, before they are normalised over labels: a placeholder
    under which the labels are likely counts for more.

    Attributes:
        labels: named in errors; () where they aren't known.
        blanks: what stands in every field of text; "" leaves the template's own words.
        mode: "diag" divides and normalises; "identity" subtracts, for very many labels: what comes out only ranks.
        reduce: "mean" over placeholders, or "min", for labels that are open answers.
        prior: the labels' probabilities without content, where they were measured once and for all: see `fitted`.
    """

    kind: ClassVar[str] = "divide"
    version: ClassVar[int] = 1

    labels: tuple[str, ...] = ()
    blanks: tuple[str, ...] = ("N/A", "", "[MASK]")
    mode: Mode = "diag"
    reduce: Reduce = "mean"
    prior: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        """Refuse settings that can't be applied."""
        for name, value, values in (("mode", self.mode, get_args(Mode)), ("reduce", self.reduce, get_args(Reduce))):
            if value not in values:
                raise SettingError(f"`{name}` can't be `{value}`", hint=near(value, values))
        if self.prior is None:
            if not self.blanks:
                raise SettingError("there is no placeholder to ask about", hint='give blanks, such as ("N/A", "")')
            return
        if any(not math.isfinite(one) or one < 0 for one in self.prior) or abs(sum(self.prior) - 1) > 1e-6:
            raise SettingError(f"the prior {self.prior} is no distribution", hint="give probabilities that sum to one")
        self._check_prior(torch.tensor([self.prior], dtype=torch.float64))

    @property
    def proper(self) -> bool:
        """Whether probabilities come out."""
        return self.mode == "diag"

    @property
    def entropy(self) -> float | None:
        """Of the stored prior, in nats: log(labels) where the prompt is unbiased; None before it is fitted."""
        return None if self.prior is None else -sum(one * math.log(one) for one in self.prior if one > 0)

    def nulls(self, example: Example, template: Template) -> tuple[Null, ...]:
        """The template with each placeholder in every field of text, after the example's own demonstrations."""
        if self.prior is not None:
            return ()
        return tuple(Null(template, blanked(example, blank)) for blank in self.blanks)

    def priors(self, null: Float[Tensor, "examples nulls labels"]) -> Float[Tensor, "examples labels"]:
        """Each example's probabilities of the labels without content, in float64."""
        rows = null.double()
        reduced = rows.amin(1) if self.reduce == "min" else rows.logsumexp(1)  # the mean's divisor goes when normalised
        if not torch.isfinite(reduced.amax(-1)).all():
            raise ModelError("the model gives no label any probability without content", hint="choose other blanks")
        return reduced.softmax(-1)

    def fitted(self, null: Float[Tensor, "nulls labels"]) -> "Divide":
        """With the prior of these rows stored: of the placeholders' log mass, as `nulls` asks for it.

        Raises:
            SettingError: one label, or one too unlikely to divide by.
        """
        prior = self.priors(null[None])
        self._check_prior(prior)
        return replace(self, prior=tuple(prior[0].tolist()))

    def apply(
        self, mass: Float[Tensor, "examples labels"], null: Float[Tensor, "examples nulls labels"] | None
    ) -> Float[Tensor, "examples labels"]:
        """Log-probabilities, the prior divided out; in "identity" mode differences of probabilities.

        Raises:
            SettingError: no prior and no nulls; another number of labels, or one; a label too unlikely to divide by.
            ModelError: an example none of whose labels has any probability.
        """
        prior = self._prior_of(mass, null)
        self._check_prior(prior)
        logp = mass.double().log_softmax(-1)
        bad = ~torch.isfinite(mass.amax(-1))
        if bad.any():
            raise ModelError(f"the model gives no label any probability in example {int(bad.nonzero()[0]) + 1}")
        if self.mode == "identity":
            return (logp.exp() - prior).to(mass.dtype)
        return (logp - prior.log()).log_softmax(-1).to(mass.dtype)

    def config(self) -> dict[str, Any]:
        """Its fields."""
        return {
            "labels": list(self.labels),
            "blanks": list(self.blanks),
            "mode": self.mode,
            "reduce": self.reduce,
            "prior": None if self.prior is None else list(self.prior),
        }

    def tensors(self) -> Mapping[str, Tensor]:
        """None: a prior is a few numbers."""
        return {}

    @classmethod
    def build(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "Divide":
        """The calibration again."""
        prior = config["prior"]
        return cls(
            labels=tuple(config["labels"]),
            blanks=tuple(config["blanks"]),
            mode=config["mode"],
            reduce=config["reduce"],
            prior=None if prior is None else tuple(prior),
        )

    def _prior_of(
        self, mass: Float[Tensor, "examples labels"], null: Float[Tensor, "examples nulls labels"] | None
    ) -> Float[Tensor, "some labels"]:
        if self.prior is None:
            if null is None:
                raise SettingError(
                    "the calibration has no prior", hint="score what `nulls` asks for, or call `fitted` first"
                )
            return self.priors(null)
        if len(self.prior) != mass.shape[1]:
            raise SettingError(f"the prior is of {len(self.prior)} labels, and the scores are of {mass.shape[1]}")
        return torch.tensor([self.prior], dtype=torch.float64, device=mass.device)

    def _check_prior(self, prior: Float[Tensor, "some labels"]) -> None:
        if prior.shape[1] < 2:
            raise SettingError("one label can't be calibrated: it has all the probability whatever is asked")
        tiny = (prior <= SMALLEST).any(0)
        if self.mode == "diag" and tiny.any():
            at = int(tiny.nonzero()[0])
            label = f"`{self.labels[at]}`" if at < len(self.labels) else str(at + 1)
            least = f"{prior[:, at].min():.1e}"
            raise SettingError(
                f"label {label} has a probability of {least} without content, too little to divide by",
                hint='give it a likelier word, choose other blanks, or subtract with mode="identity"',
            )


@dataclass(frozen=True, kw_only=True)
class PMI:
    """Log-ratio of a label's probability to what the domain alone gives it (Holtzman et al. 2021, arXiv:2104.08315).

    Attributes:
        domain: the template without the question, such as ` the answer is: {mask}`; it is shown without demonstrations.
    """

    kind: ClassVar[str] = "pmi"
    version: ClassVar[int] = 1

    domain: Template

    def __post_init__(self) -> None:
        """Refuse a domain where nothing can be read."""
        if not self.domain.slots:
            raise TemplateError(
                f"the domain `{self.domain}` has no slot", hint="let it end where the answer starts: {mask}"
            )

    @property
    def proper(self) -> bool:
        """No: a ratio of probabilities only ranks."""
        return False

    def nulls(self, example: Example, template: Template) -> tuple[Null, ...]:
        """The domain's template, with the same example, for it may show a field of it."""
        return (Null(self.domain, example, demos=False),)

    def apply(
        self, mass: Float[Tensor, "examples labels"], null: Float[Tensor, "examples nulls labels"] | None
    ) -> Float[Tensor, "examples labels"]:
        """Log-ratios: the mass less the mass under the domain.

        Raises:
            SettingError: the nulls are missing.
            ModelError: a label that is impossible under the domain.
        """
        if null is None:
            raise SettingError("the mass under the domain is missing", hint="score what `nulls` asks for")
        under = null[:, 0]
        impossible = (under == -torch.inf).nonzero()
        if len(impossible):
            label = int(impossible[0, 1]) + 1
            raise ModelError(
                f"label {label} is impossible under the domain `{self.domain}`", hint="choose another domain"
            )
        return mass - under

    def config(self) -> dict[str, Any]:
        """The domain."""
        return {"domain": str(self.domain)}

    def tensors(self) -> Mapping[str, Tensor]:
        """None: nothing is learned."""
        return {}

    @classmethod
    def build(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "PMI":
        """The calibration again."""
        return cls(domain=Template.parse(config["domain"]))


def blanked(example: Example, blank: str) -> Example:
    """The example without content: a placeholder in every field of text, no target, no key."""
    return Example({name: blank if isinstance(value, str) else value for name, value in example.fields.items()})
