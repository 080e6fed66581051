"""Clusters as a calibration, and how they are found."""

import math
from itertools import permutations

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from promptatlas.errors import DataError, ModelError, SettingError
from promptatlas.score.prototypes import Prototypes, position
from promptatlas.search.clusters import clustered, matched

EYE = torch.eye(2, dtype=torch.float64)


def made(means: Tensor, covariances: Tensor, weights: tuple[float, ...] = (0.5, 0.5)) -> Prototypes:
    return Prototypes(means=means, covariances=covariances, weights=torch.tensor(weights, dtype=torch.float64))


def found(at: Tensor, seed: int = 0, weighted: bool = True) -> tuple[Prototypes, float]:
    return clustered(at, restarts=4, least=1e-6, weighted=weighted, seed=seed)


def two(sizes: tuple[int, int] = (60, 60), seed: int = 0) -> Tensor:
    """Texts of two clusters, in both of which the first label is likelier: about .9 and about .6."""
    draw = torch.Generator().manual_seed(seed)
    logits = torch.cat(
        [
            centre + 0.1 * torch.randn(size, generator=draw, dtype=torch.float64)
            for centre, size in zip((math.log(9), math.log(1.5)), sizes, strict=True)
        ]
    )
    return torch.stack([logits, torch.zeros_like(logits)], 1).log_softmax(-1)


def test_distances_by_hand() -> None:
    """Means a = log(.8, .2) and b = log(.6, .4), unit variance: at a, b is d² = log(.8/.6)² + log(.2/.4)² away."""
    means = torch.tensor([[0.8, 0.2], [0.6, 0.4]], dtype=torch.float64).log()
    prototypes = made(means, EYE.repeat(2, 1, 1))
    away = math.log(0.8 / 0.6) ** 2 + math.log(2) ** 2
    expected = 1 / (1 + math.exp(-away / 2))
    got = prototypes.apply(means, None).exp()
    assert got[0].tolist() == pytest.approx((expected, 1 - expected))
    assert got[1].tolist() == pytest.approx((1 - expected, expected))
    weighed = made(means, EYE.repeat(2, 1, 1), (0.75, 0.25)).apply(means[:1], None)[0]
    assert math.exp(weighed[0] - weighed[1]) == pytest.approx(3 * math.exp(away / 2))


def test_as_torch_s_own_gaussians_say() -> None:
    draw = torch.Generator().manual_seed(0)
    roots = torch.randn(3, 3, 3, generator=draw, dtype=torch.float64)
    covariances = roots @ roots.mT + 0.1 * torch.eye(3, dtype=torch.float64)
    means = torch.randn(3, 3, generator=draw, dtype=torch.float64).log_softmax(-1)
    weights = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
    mass = torch.randn(7, 3, generator=draw, dtype=torch.float64)
    gaussians = MultivariateNormal(means, covariances)
    expected = (gaussians.log_prob(mass.log_softmax(-1)[:, None]) + weights.log()).log_softmax(-1)
    prototypes = Prototypes(means=means, covariances=covariances, weights=weights)
    torch.testing.assert_close(prototypes.apply(mass, None), expected)
    torch.testing.assert_close(prototypes.apply(mass - 3.0, None), expected)  # the labels' common mass doesn't matter
    torch.testing.assert_close(prototypes.apply(mass.float(), None), expected.float(), atol=1e-4, rtol=1e-4)
    assert prototypes.proper


def test_a_border_is_found_where_no_probability_is_equal() -> None:
    at = two()
    assert (at.argmax(-1) == 0).all()  # uncalibrated, all are of the first label
    prototypes, _ = found(at)
    assert prototypes.apply(at, None).argmax(-1).tolist() == [0] * 60 + [1] * 60
    assert prototypes.means.exp()[:, 0].tolist() == pytest.approx((0.9, 0.6), abs=0.01)


def test_the_order_of_labels_does_not_matter() -> None:
    at = two()
    one, other = found(at)[0].apply(at, None), found(at.flip(1))[0].apply(at.flip(1), None)
    assert one.argmax(-1).tolist() == (1 - other.argmax(-1)).tolist()


def test_shares_of_texts_are_kept_or_left_out() -> None:
    at = two((90, 30))
    assert found(at)[0].weights.tolist() == pytest.approx((0.75, 0.25), abs=0.01)
    assert found(at, weighted=False)[0].weights.tolist() == [0.5, 0.5]


def test_the_same_seed_finds_the_same() -> None:
    at = two(seed=3)
    one, other = found(at, seed=5)[0], found(at, seed=5)[0]
    assert all(torch.equal(value, other.tensors()[name]) for name, value in one.tensors().items())


def test_the_best_matching_of_all() -> None:
    draw = torch.Generator().manual_seed(0)
    for _ in range(20):
        means = torch.randn(4, 4, generator=draw, dtype=torch.float64).log_softmax(-1)
        sums = {order: sum(float(means[order[label], label]) for label in range(4)) for order in permutations(range(4))}
        got = matched(means)
        assert got.score == pytest.approx(max(sums.values()))
        assert got.clusters == max(sums, key=sums.__getitem__)


def test_a_label_that_is_likelier_everywhere_gets_one_cluster_only() -> None:
    assert matched(torch.tensor([[0.6, 0.4], [0.9, 0.1]]).log()).clusters == (1, 0)


def test_equal_texts_are_still_clusters() -> None:
    prototypes, _ = found(two()[:1].repeat(6, 1))
    scores = prototypes.apply(two(), None)
    assert torch.isfinite(scores).all()


def test_what_is_no_mixture() -> None:
    means, covariances = torch.zeros(2, 2, dtype=torch.float64), EYE.repeat(2, 1, 1)
    with pytest.raises(SettingError, match=r"the weights of prototypes are \[0\.5, 0\.6"):
        made(means, covariances, (0.5, 0.6))
    with pytest.raises(SettingError, match="the covariance of prototype 2 isn't positive definite"):
        made(means, torch.stack([EYE, -EYE]))
    with pytest.raises(SettingError, match="the means of prototypes aren't all finite"):
        made(means / 0, covariances)
    with pytest.raises(SettingError, match="the prototypes are of 2 labels, and the scores are of 3"):
        made(means, covariances).apply(torch.zeros(1, 3), None)
    with pytest.raises(ModelError, match="no label any probability in example 2"):
        made(means, covariances).apply(torch.tensor([[0.0, 0.0], [-torch.inf, -torch.inf]]), None)


def test_what_can_not_be_clustered() -> None:
    with pytest.raises(DataError) as caught:
        found(two()[:3])
    assert str(caught.value) == (
        "3 texts are too few to find 2 clusters among\n\nhint: give 4 or more, better hundreds"
    )
    with pytest.raises(SettingError, match="0 fits"):
        clustered(two(), restarts=0, least=1e-6, weighted=True, seed=0)


def test_an_impossible_label_has_a_place() -> None:
    (at,) = position(torch.tensor([[0.0, -torch.inf]])).tolist()
    assert at == pytest.approx((0.0, math.log(1e-12)))
