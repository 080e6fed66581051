"""Prototypes: labels as clusters of what a model says, whose borders needn't lie where probabilities are equal.

Han, Hao, Dong, Sun & Wei 2023, "Prototypical Calibration for Few-shot Learning of Language Models", arXiv:2205.10183.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from promptatlas.data.example import Example
from promptatlas.errors import ModelError, SettingError
from promptatlas.score.calibrate import SMALLEST, Null
from promptatlas.text.template import Template


def position(mass: Float[Tensor, "examples labels"]) -> Float[Tensor, "examples labels"]:
    """Where examples lie: the labels' log-probabilities, which sum to one, in float64; none below that of 1e-12.

    Raises:
        ModelError: an example none of whose labels has any probability.
    """
    bad = ~torch.isfinite(mass.amax(-1))
    if bad.any():
        raise ModelError(f"the model gives no label any probability in example {int(bad.nonzero()[0]) + 1}")
    return mass.double().log_softmax(-1).clamp(min=math.log(SMALLEST))


@dataclass(frozen=True, kw_only=True, eq=False)
class Prototypes:
    """A Gaussian a label, over the log-probabilities of all labels: what comes out says which one a text is of.

    Clusters stand in the order of the labels they were given to.

    Attributes:
        means: of each label's cluster.
        covariances: of each label's cluster.
        weights: each cluster's share of the texts; all the same where they are left out of the answer.
    """

    kind: ClassVar[str] = "prototypes"
    version: ClassVar[int] = 1

    means: Float[Tensor, "labels labels"]
    covariances: Float[Tensor, "labels labels labels"]
    weights: Float[Tensor, " labels"]

    def __post_init__(self) -> None:
        """Refuse what is no mixture."""
        for name, one in (("means", self.means), ("covariances", self.covariances), ("weights", self.weights)):
            if not torch.isfinite(one).all():
                raise SettingError(f"the {name} of prototypes aren't all finite")
        if (self.weights <= 0).any() or abs(float(self.weights.sum()) - 1) > 1e-6:
            told = f"the weights of prototypes are {self.weights.tolist()}"
            raise SettingError(told, hint="give shares above 0 that sum to one")
        bad = torch.linalg.cholesky_ex(self.covariances.double()).info.nonzero()
        if len(bad):
            told = f"the covariance of prototype {int(bad[0, 0]) + 1} isn't positive definite"
            raise SettingError(told, hint="add a little to its diagonal")

    @property
    def proper(self) -> bool:
        """Yes: probabilities of the clusters come out."""
        return True

    def nulls(self, example: Example, template: Template) -> tuple[Null, ...]:
        """None."""
        return ()

    def apply(
        self, mass: Float[Tensor, "examples labels"], null: Float[Tensor, "examples nulls labels"] | None
    ) -> Float[Tensor, "examples labels"]:
        """Log-probabilities that an example comes from each label's cluster.

        Raises:
            SettingError: another number of labels.
            ModelError: an example none of whose labels has any probability.
        """
        if mass.shape[-1] != len(self.weights):
            told = f"the prototypes are of {len(self.weights)} labels, and the scores are of {mass.shape[-1]}"
            raise SettingError(told)
        at = position(mass)
        means, covariances, weights = (one.to(at) for one in (self.means, self.covariances, self.weights))
        away = (at[:, None] - means).permute(1, 2, 0)  # [clusters, labels, examples]
        lower = torch.linalg.cholesky(covariances)
        whitened = torch.linalg.solve_triangular(lower, away, upper=False)
        volumes = lower.diagonal(dim1=-2, dim2=-1).log().sum(-1)  # half the log of the determinants
        density: Tensor = (-0.5 * whitened.square().sum(1) - volumes[:, None]).T
        return (density + weights.log()).log_softmax(-1).to(mass.dtype)

    def config(self) -> dict[str, Any]:
        """Nothing but tensors."""
        return {}

    def tensors(self) -> Mapping[str, Tensor]:
        """The mixture."""
        return {"means": self.means, "covariances": self.covariances, "weights": self.weights}

    @classmethod
    def build(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "Prototypes":
        """The prototypes again."""
        return cls(means=tensors["means"], covariances=tensors["covariances"], weights=tensors["weights"])
