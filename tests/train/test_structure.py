"""The structural loss: the sheet's oracles, and by hand on tiny models."""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import softplus

from promptatlas.data.example import Example
from promptatlas.errors import DataError
from promptatlas.lm.local import LocalLM
from promptatlas.prompting import Prompt
from promptatlas.prompting.make import prompt
from promptatlas.score.named import named_rows
from promptatlas.score.soft import LabelVectors
from promptatlas.testing import tiny, toy_pairs
from promptatlas.testing.tiny import names
from promptatlas.train.loss import Batch, generator, nll
from promptatlas.train.soft import between
from promptatlas.train.structure import Structure, distance, structural

TASK = toy_pairs()
BATCH = Batch(TASK.train[:4], (0, 1, 2, 3), 0, generator(0), seed=1)
TEXT = "{text} {head!} {mask} {tail!}"


def related(lm: LocalLM) -> Prompt:
    plain = prompt(TEXT, {"pets": "good", "weather": "bad"})
    rows = named_rows({"pets": "good", "weather": "bad"}, lm, plain.template)
    made = replace(plain.plus(label_vectors=rows), words=LabelVectors(labels=TASK.labels))
    return between(made, lm, "head", "kind", ["good", "old"])


def test_worked_example() -> None:
    """s = (1, 0), r = (0, 1), o = (1, 1), margin .3: a right triple at 0, a wrong one at 1."""
    one, relation, other = torch.tensor([[1.0, 0.0]]), torch.tensor([0.0, 1.0]), torch.tensor([[1.0, 1.0]])
    gap = distance(one, relation, other)
    assert gap.tolist() == [0.0]
    alone = structural(gap, torch.zeros(1, 0), 0.3)
    assert float(alone) == pytest.approx(0.554355, abs=1e-6)
    both = structural(gap, torch.ones(1, 1), 0.3)
    assert float(both) == pytest.approx(0.957541, abs=1e-6)
    assert float(both - alone) == pytest.approx(0.403186, abs=1e-6)


def test_distances_are_a_number_a_triple_and_not_one_of_the_batch() -> None:
    rows = torch.tensor([[3.0, 4.0], [3.0, 4.0]])
    assert distance(rows, torch.zeros(2), torch.zeros(2, 2)).tolist() == [5.0, 5.0]
    assert float(torch.linalg.matrix_norm(rows) / 2) == pytest.approx(3.5355, abs=1e-4)  # what the release has


def test_it_is_never_negative_and_falls_where_right_ones_are_near_and_wrong_ones_far() -> None:
    gaps = torch.linspace(0, 10, 20)
    near = structural(gaps, torch.zeros(20, 0), 0.3)
    far = structural(torch.zeros(20), gaps[:, None], 0.3)
    assert bool((near > 0).all())
    assert bool((near.diff() > 0).all())
    assert bool((far.diff() < 0).all())


@pytest.mark.parametrize("name", names("masked"))
def test_without_weight_it_is_the_loss_of_the_label(name: str) -> None:
    lm = tiny(name)
    made = related(lm)
    with torch.no_grad():
        plain = nll(made, lm, BATCH)
        assert torch.equal(Structure(0.0)(made, lm, BATCH), plain)
        tiny_weight = Structure(1e-9)(made, lm, BATCH)
    torch.testing.assert_close(tiny_weight, plain, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["bert", "modernbert"])
def test_the_right_triple_by_hand(name: str) -> None:
    lm = tiny(name)
    made = replace(related(lm), template=prompt(TEXT, {"a": "b"}).template)  # no vectors: the model alone can run it
    with torch.no_grad():
        found = Structure(1.0, negatives=0)(made, lm, BATCH) - nll(made, lm, BATCH)
        for loss, example in zip(found, BATCH.examples, strict=True):
            (row,) = made.reader(lm).encode(made.lines(lm, [example])[0])
            states = lm.model(input_ids=torch.tensor([row.ids]), output_hidden_states=True).hidden_states[-1][0]
            spans = {span.name: states[span.start : span.end].mean(0) for span in row.spans if span.kind == "field"}
            gap = (spans["head"] + states[row.slots[0].positions[0]] - spans["tail"]).norm()
            torch.testing.assert_close(loss, softplus(gap - 0.3), atol=1e-4, rtol=0)


def test_wrong_triples_are_an_example_s_own_however_a_batch_is_split() -> None:
    lm = tiny("bert")
    made, loss = related(lm), Structure(1.0, negatives=3)
    halves = [Batch(BATCH.examples[a:b], BATCH.indices[a:b], 0, generator(a), seed=1) for a, b in ((0, 1), (1, 4))]
    with torch.no_grad():
        whole, split = loss(made, lm, BATCH), torch.cat([loss(made, lm, half) for half in halves])
        other = loss(made, lm, replace(BATCH, step=1))
    torch.testing.assert_close(whole, split, atol=1e-5, rtol=0)
    assert not torch.allclose(whole, other)


def test_a_gradient_reaches_vectors_labels_and_weights() -> None:
    lm = tiny("bert")
    made = related(lm)
    Structure(1.0)(made, lm, BATCH).sum().backward()
    assert all(float(part.weight.grad.abs().sum()) > 0 for part in (made.parts["kind"], made.parts["label_vectors"]))  # type: ignore[attr-defined]


def test_the_shortest_row_and_a_thing_that_is_not_there() -> None:
    lm = tiny("bert")
    short = replace(related(lm), template=prompt("{head!} {mask} {tail!}", {"a": "b"}).template)
    one = Batch((Example({"head": "cat", "tail": "cat"}, "pets"),), (0,), 0, generator(0))
    assert bool(Structure(1.0, negatives=20)(short, lm, one).isfinite().all())
    none = Batch((Example({"head": "", "tail": "cat"}, "pets", "e7"),), (0,), 0, generator(0))
    with pytest.raises(DataError, match="example `e7` has no token of `head` in its row"):
        Structure(1.0)(short, lm, none)
