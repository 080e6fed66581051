"""Orders of demonstrations and their entropies; figures by hand from the paper's definitions."""

import math

import pytest
import torch

from promptatlas.data.example import Example
from promptatlas.demos.orders import global_entropy, local_entropy, orders
from promptatlas.errors import SettingError


def some(texts: str) -> list[Example]:
    return [Example({"text": one}, "a", f"{at}") for at, one in enumerate(texts)]


def said(*labels: int, among: int = 2) -> torch.Tensor:
    return torch.eye(among)[list(labels)][None] * 0.5 + 0.1


@pytest.mark.parametrize(("texts", "count"), [("", 1), ("a", 1), ("abc", 6), ("abcd", 24), ("abcde", 24), ("aabb", 6)])
def test_so_many_orders_all_distinct_the_given_one_first(texts: str, count: int) -> None:
    examples = some(texts)
    found = orders(examples)
    assert found[0] == tuple(range(len(texts)))
    assert len({tuple(texts[at] for at in one) for one in found}) == len(found) == count
    assert all(sorted(one) == list(range(len(texts))) for one in found)


def test_a_sample_is_the_seeds() -> None:
    assert orders(some("abcdef"), 10, 3) == orders(some("abcdef"), 10, 3)
    assert orders(some("abcdef"), 10, 3) != orders(some("abcdef"), 10, 4)
    assert len(orders([Example({"text": "b"}), *some("a" * 11)], 24)) == 12, "of 12!, 12 differ"
    with pytest.raises(SettingError, match="0 orders"):
        orders(some("ab"), 0)


def test_examples_of_one_text_and_two_targets_differ() -> None:
    assert len(orders([Example({"text": "a"}, "x"), Example({"text": "a"}, "y")])) == 2


@pytest.mark.parametrize(
    ("shares", "unseen", "entropy"),
    [
        (said(0, 0, 1, 0), 0.0, 0.562335),
        (said(0, 0, 0, 0), 0.0, 0.0),
        (said(0, 0, 0, 0), 1e-5, 3.4748e-5),
        (said(0, 1, 1, 0), 0.0, math.log(2)),
        (said(0, 0, 1, 2, among=3), 0.0, 1.039721),
    ],
)
def test_global_entropy(shares: torch.Tensor, unseen: float, entropy: float) -> None:
    assert float(global_entropy(shares, unseen)) == pytest.approx(entropy, abs=5e-7 if not unseen else 5e-10)


def test_local_entropy() -> None:
    shares = torch.tensor([[[0.9, 0.1], [0.5, 0.5]]], dtype=torch.float64)
    assert float(local_entropy(shares)) == pytest.approx((0.325083 + 0.693147) / 2, abs=1e-6)
    scaled = shares * torch.tensor([[3.0], [0.01]])
    torch.testing.assert_close(local_entropy(scaled), local_entropy(shares))
    assert float(local_entropy(torch.tensor([[[1.0, 0.0]]]))) == 0


@pytest.mark.parametrize("entropy", [global_entropy, local_entropy])
def test_neither_notices_the_order_of_probes_their_doubles_or_the_names_of_labels(entropy: object) -> None:
    assert callable(entropy)
    shares = torch.rand(5, 7, 3, generator=torch.Generator().manual_seed(0))
    wanted = entropy(shares)
    assert bool((wanted >= 0).all())
    assert bool((wanted <= math.log(3) + 1e-9).all())
    for same in (shares[:, torch.randperm(7)], shares.repeat(1, 2, 1), shares[..., [2, 0, 1]]):
        torch.testing.assert_close(entropy(same), wanted)
    torch.testing.assert_close(entropy(shares[[3, 1]]), wanted[[3, 1]])
