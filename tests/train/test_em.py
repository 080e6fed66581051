"""Mixture weights: the sheet's worked example, and what always holds."""

from itertools import pairwise

import pytest
import torch

from promptatlas.prompting import Ensemble
from promptatlas.testing.tasks import toy, toy_prompt
from promptatlas.testing.tiny import tiny
from promptatlas.text.template import Template
from promptatlas.train.em import Shared, answered, effective, mixed_nll, responsible, weighed
from promptatlas.train.loss import Batch, generator, nll_among_all
from promptatlas.train.soft import fitting

HALVES = torch.tensor([0.5, 0.5], dtype=torch.float64)
LOGP = torch.tensor([[0.8, 0.2], [0.3, 0.1]], dtype=torch.float64).log()


def test_worked_example() -> None:
    shares = responsible(LOGP, HALVES)
    torch.testing.assert_close(shares, torch.tensor([[0.8, 0.2], [0.75, 0.25]], dtype=torch.float64))
    weights = weighed(shares)
    torch.testing.assert_close(weights, torch.tensor([0.775, 0.225], dtype=torch.float64))
    assert mixed_nll(LOGP, HALVES) == pytest.approx(2.302585, abs=1e-6)
    assert mixed_nll(LOGP, weights) == pytest.approx(1.774460, abs=1e-6)
    assert effective(weights) == pytest.approx(1.704316, abs=1e-6)
    new = torch.tensor([0.6, 0.3], dtype=torch.float64)
    assert float((new * weights).sum()) == pytest.approx(0.5325, abs=1e-9)


def test_weights_alone_never_make_it_worse() -> None:
    logp = torch.randn(40, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 3
    weights, losses = torch.full((5,), 0.2, dtype=torch.float64), []
    for _ in range(30):
        losses.append(mixed_nll(logp, weights))
        shares = responsible(logp, weights)
        torch.testing.assert_close(shares.sum(-1), torch.ones(40, dtype=torch.float64))
        weights = weighed(shares)
        assert float(weights.sum()) == pytest.approx(1)
        torch.testing.assert_close(weights, shares.mean(0))
    assert all(later <= earlier + 1e-9 for earlier, later in pairwise(losses))
    assert losses[-1] < losses[0]


def test_one_prompt_is_responsible_for_all() -> None:
    one = torch.ones(1, dtype=torch.float64)
    assert torch.equal(responsible(LOGP[:, :1], one), torch.ones(2, 1, dtype=torch.float64))
    assert torch.equal(weighed(torch.ones(2, 1, dtype=torch.float64)), one)


def test_a_weight_never_reaches_zero() -> None:
    shares = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    assert 0 < float(weighed(shares)[1]) < 1e-11


def test_answers_without_any_probability_are_told() -> None:
    logp = torch.tensor([[-torch.inf, -torch.inf], [-1.0, -torch.inf]], dtype=torch.float64)
    weights = torch.tensor([0.3, 0.7], dtype=torch.float64)
    with pytest.warns(UserWarning, match="1 answers have no probability under any prompt"):
        shares = responsible(logp, weights)
    torch.testing.assert_close(shares, torch.tensor([[0.3, 0.7], [1.0, 0.0]], dtype=torch.float64))


def test_the_mixture_s_gradient_is_that_of_the_weighed_losses() -> None:
    """d(-log sum w p) = sum g d(-log p), for shares g taken at the same place."""
    scores = torch.randn(6, 3, 10, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
    weights = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
    logp = scores.log_softmax(-1)[..., 4]
    (whole,) = torch.autograd.grad(-(logp + weights.log()).logsumexp(-1).sum(), scores, retain_graph=True)
    shares = responsible(logp.detach(), weights)
    (split,) = torch.autograd.grad((shares * -logp).sum(), scores)
    torch.testing.assert_close(whole, split)


def test_each_example_counts_by_its_share() -> None:
    lm, task = tiny("bert"), toy()
    batch = Batch(task.train[4:7], (4, 5, 6), 0, generator(0))
    shares = torch.arange(32.0) / 32
    torch.testing.assert_close(
        Shared(shares)(toy_prompt(), lm, batch).detach(),
        (shares[4:7] * nll_among_all(toy_prompt(), lm, batch)).detach(),
    )
    assert Shared(shares).key() == Shared(shares.clone()).key() != Shared(shares + 1).key()
    found = answered([toy_prompt(), toy_prompt()], lm, task.train[:3])
    torch.testing.assert_close(found[:, 0], found[:, 1])


def test_templates_that_ask_for_something_else_are_left_out() -> None:
    with pytest.warns(UserWarning, match="is left out: it has other fields or slots than the prompt"):
        kept = fitting(("{text} so {mask}", "{title} so {mask}", "{text} so"), toy_prompt())
    assert kept == [Template.parse("{text} so {mask}")]
    assert Ensemble(prompts=(toy_prompt(),)).mix is False
