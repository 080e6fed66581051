"""Methods on a remote model do what they do on the same model here, or say before any work that they can't."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tests.contract.test_methods import QUICK

from promptatlas import method
from promptatlas.errors import NeedsError
from promptatlas.lm.load import load
from promptatlas.lm.remote.lm import RemoteLM
from promptatlas.lm.remote.make import remote
from promptatlas.registry import names
from promptatlas.testing import endpoint, toy, toy_prompt

NAME = "pocket-causal"
FIT = {
    "batch_calibration", "channel", "contextual_calibration", "domain_calibration", "entropy_order", "in_context",
    "kpt", "pero", "pmi", "prototypical_calibration",
}  # fmt: skip


HERE = load(NAME, "cpu")


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RemoteLM]:
    folder: Path = tmp_path_factory.mktemp("replies")
    with endpoint(NAME) as served:
        one = remote(served.url, NAME, cache=folder / "replies.sqlite")
        yield one
        one.close()


@pytest.mark.parametrize("name", sorted(FIT))
def test_a_method_does_what_it_does_here(name: str, lm: RemoteLM) -> None:
    made, task = method(name, **QUICK[name]), toy(train=4, dev=2, test=2, unlabeled=4)
    fitted = made.fit(lm, task, toy_prompt())
    assert fitted.history[-1].lm["name"] == lm.name
    ours, theirs = (one.score(by, task.test) for one, by in ((fitted, lm), (made.fit(HERE, task, toy_prompt()), HERE)))
    torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=0)


def test_neighbours_by_words_need_no_states(lm: RemoteLM) -> None:
    task = toy(train=4, dev=0, test=2)
    ours, theirs = (
        method("kate", k=1, metric="bm25").fit(by, task, toy_prompt()).score(by, task.test) for by in (lm, HERE)
    )
    torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", sorted(set(names()) - FIT))
def test_the_others_are_refused_before_any_work(name: str, lm: RemoteLM) -> None:
    before = lm.spent.requests
    with pytest.raises(NeedsError, match=r"needs a|reads"):
        method(name, **QUICK[name]).fit(lm, toy(), toy_prompt())
    assert lm.spent.requests == before
