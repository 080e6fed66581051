"""Clusters of what a model says of texts, each given to a label.

Han, Hao, Dong, Sun & Wei 2023, "Prototypical Calibration for Few-shot Learning of Language Models", arXiv:2205.10183.
"""

import warnings
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch import Tensor

from promptatlas.errors import DataError, SettingError
from promptatlas.score.prototypes import Prototypes


class Matched(NamedTuple):
    """Which cluster is which label's, and the sum of the labels' mean log-probabilities in theirs."""

    clusters: tuple[int, ...]
    score: float


def matched(means: Float[Tensor, "labels labels"]) -> Matched:
    """The assignment under which each label is likeliest in its own cluster, in sum over labels.

    Args:
        means: a row a cluster, of the labels' log-probabilities in it.

    >>> matched(torch.tensor([[0.6, 0.4], [0.9, 0.1]]).log()).clusters  # the second has more of the first label
    (1, 0)
    """
    labels, clusters = linear_sum_assignment(means.T.numpy(), maximize=True)
    return Matched(tuple(clusters.tolist()), float(means.T[labels, clusters].sum()))


def clustered(
    at: Float[Tensor, "texts labels"], *, restarts: int, least: float, weighted: bool, seed: int
) -> tuple[Prototypes, float]:
    """A mixture of as many Gaussians as there are labels, and its matching's score.

    Of several fits by EM that one is kept whose clusters match the labels best.

    Args:
        at: where texts lie (see `score.prototypes.position`).
        restarts: fits, each from other beginnings.
        least: variance that is added in every direction.
        weighted: whether a cluster counts by its share of the texts.
        seed: of the beginnings.

    Raises:
        DataError: there are fewer texts than two a label.
        SettingError: no fit, or a negative variance.
    """
    texts, labels = at.shape
    if restarts < 1 or least <= 0:
        told = f"{restarts} fits with a variance of at least {least}"
        raise SettingError(told, hint="fit once or more, and add more than 0")
    if texts < 2 * labels:
        told = f"{texts} texts are too few to find {labels} clusters among"
        raise DataError(told, hint=f"give {2 * labels} or more, better hundreds")
    best: tuple[float, GaussianMixture, Matched] | None = None
    for start in range(restarts):
        mixture = GaussianMixture(labels, reg_covar=least, max_iter=200, random_state=seed + start)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # few or equal texts: the best of all fits is kept
            mixture.fit(at.numpy())
        found = matched(torch.from_numpy(mixture.means_))
        if best is None or found.score > best[0] + 1e-9:
            best = (found.score, mixture, found)
    assert best is not None
    score, mixture, found = best
    order = np.array(found.clusters)
    means, covariances = (torch.from_numpy(one[order].copy()) for one in (mixture.means_, mixture.covariances_))
    shares = torch.from_numpy(mixture.weights_[order]).clamp(min=1e-12)
    weights = shares / shares.sum() if weighted else torch.full((labels,), 1 / labels, dtype=torch.float64)
    return Prototypes(means=means, covariances=covariances, weights=weights), score
