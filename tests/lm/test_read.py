from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product

import pytest
import torch
from tests.lm.rows import bare, plain, row
from torch import Tensor

from promptatlas.errors import ModelError
from promptatlas.lm.ask import Against, Given, Hidden, Job, Places, Tokens, Vocabulary
from promptatlas.lm.lm import LM
from promptatlas.lm.load import wrap
from promptatlas.lm.local import CHUNK
from promptatlas.lm.row import Row
from promptatlas.parts.vectors import Vectors, vocabulary
from promptatlas.testing import check_lm
from promptatlas.testing.check_lm import words
from promptatlas.testing.same import same
from promptatlas.testing.tiny import FAMILIES, names, tiny

FILLED = "{text} It was {mask}"
TEXT = "The cat sat on the old grey town"


@pytest.mark.parametrize(
    ("name", "left"), [*product(names(), [False]), *product(names("causal"), [True])], ids=lambda one: str(one)
)
def test_every_family_keeps_the_contract(name: str, left: bool) -> None:
    check_lm(tiny(name, left=left))


def test_the_contract_covers_all_families() -> None:
    assert names("masked") == ("bert", "roberta", "albert", "deberta-v2", "modernbert")
    assert names("causal") == ("gpt2", "llama", "qwen2", "opt")
    assert names("seq2seq") == ("t5", "bart")


@pytest.mark.parametrize("name", names())
def test_the_vocabulary_is_what_transformers_says_on_its_own(name: str) -> None:
    lm, one = tiny(name), row(tiny(name), FILLED, text=TEXT)
    (read,) = lm.read([Job(one, (Vocabulary(),))])[0]
    logits = plain(bare(name), lm.kind, one).logits[0].log_softmax(-1)
    same(read.values, logits[list(one.slots[0].positions)], name)


@pytest.mark.parametrize("name", names())
def test_states_are_what_transformers_says_on_its_own(name: str) -> None:
    lm, one = tiny(name), row(tiny(name), FILLED, text=TEXT)
    asks = [Hidden(at=at) for at in ("slot", "first", "last", "mean")] + [Hidden(layers=(0, 1, -1), at="slot")]
    slot, first, last, mean, deep = lm.read([Job(one, tuple(asks))])[0]
    out = plain(bare(name), lm.kind, one, output_hidden_states=True)
    if lm.kind == "seq2seq":
        encoder, layers = out.encoder_last_hidden_state[0], out.decoder_hidden_states
    else:
        layers = out.hidden_states
        encoder = layers[-1][0]
    at = list(one.slots[0].positions)
    same(slot.values, layers[-1][0, at], "slot")
    same(first.values, encoder[[one.first]], "first")
    same(last.values, encoder[[len(one) - 1]], "last")
    same(mean.values, encoder.mean(0, keepdim=True), "mean")
    same(deep.values, torch.cat([layers[layer][0, at] for layer in (0, 1, -1)], -1), "several layers")


def test_a_mean_leaves_vectors_out_and_first_is_the_start_mark() -> None:
    lm = tiny("bert")
    parts = {"soft": vocabulary(lm, 4, seed=0)}
    one = row(lm, "{@soft}{text} {mask}", parts, text="the cat")
    every = Places(tuple(range(len(one))), (1,) * len(one))  # only so that the body runs as a whole
    mean, first, _ = lm.read([Job(one, (Hidden(at="mean"), Hidden(at="first"), every), parts)])[0]
    states = torch.cat(
        [lm.read([Job(_at(one, at), (Hidden(at="slot"),), parts)])[0][0].values for at in range(len(one))]
    )
    same(mean.values, states[4:].mean(0, keepdim=True), "mean")
    same(first.values, states[[4]], "first")


def _at(one: Row, position: int) -> Row:
    return replace(one, slots=(replace(one.slots[0], positions=(position,)),))


@pytest.mark.parametrize("name", names())
def test_learned_rows_go_through_the_models_own_head(name: str) -> None:
    lm, one = tiny(name), row(tiny(name), FILLED, text=TEXT)
    ids = words(lm)
    head = lm.model.get_output_embeddings()
    extra = torch.zeros(len(ids)) if head.bias is None else head.bias[list(ids)]
    against, tokens = lm.read([Job(one, (Against(lm.outputs[list(ids)], extra), Tokens(ids)))])[0]
    same(against.values, tokens.values, "rows of the vocabulary given as learned rows")


def test_learned_rows_of_several_jobs_do_not_mix() -> None:
    lm, one = tiny("bert"), row(tiny("bert"), FILLED, text=TEXT)
    rows = lm.outputs[[5, 6]]
    jobs = [Job(one, (Against(rows, bias),)) for bias in (None, torch.ones(2), None)] + [Job(one, (Against(rows * 2),))]
    bare_, moved, again, doubled = (reading[0].values for reading in lm.read(jobs))
    same(moved, bare_ + 1, "another bias on the same rows")
    same(again, bare_, "the same rows")
    same(doubled, bare_ * 2, "other rows")


def test_gradients_reach_learned_rows_and_states() -> None:
    lm, one = tiny("t5"), row(tiny("t5"), FILLED, text=TEXT)
    rows = lm.outputs[[5, 6]].clone().requires_grad_()
    lm.read([Job(one, (Against(rows),))])[0][0].values.sum().backward()
    assert rows.grad is not None
    assert float(rows.grad.abs().sum()) > 0


def test_places_are_read_wherever_they_are() -> None:
    lm, one = tiny("bert"), row(tiny("bert"), FILLED, text=TEXT)
    (places,) = lm.read([Job(one, (Places((2, 4, 0), (7, 8, 9)),))])[0]
    logits = plain(bare("bert"), "masked", one).logits[0].log_softmax(-1)
    same(places.values, logits[[2, 4, 0], [7, 8, 9]][None], "places")


@pytest.mark.parametrize("name", ["bert", "gpt2", "llama", "t5", "bart"])
def test_a_given_answer_of_several_tokens(name: str) -> None:
    lm, answer = tiny(name), (9, 8, 7)
    one = row(lm, FILLED, width=3, text=TEXT).then(answer)
    (given,) = lm.read([Job(one, (Given(),))])[0]
    logits = plain(bare(name), lm.kind, one).logits[0].log_softmax(-1)
    first = one.slots[0].positions[0]
    wanted = torch.stack([logits[first + i, token] for i, token in enumerate(answer)])
    same(given.values, wanted[None], "answer")


def test_an_answer_needs_as_many_masks_and_a_slot() -> None:
    lm = tiny("bert")
    with pytest.raises(ModelError, match="an answer of 3 tokens was given to a slot of 1 masks"):
        lm.read([Job(row(lm, FILLED, text=TEXT).then((7, 8, 9)), (Given(),))])
    with pytest.raises(ModelError, match="a row without a slot"):
        lm.read([Job(row(lm, "{text}", text=TEXT).then((7,)), (Given(),))])


@pytest.mark.parametrize("name", ["bert", "gpt2", "t5"])
def test_a_row_without_slots_gets_nothing_in_any_company(name: str) -> None:
    lm = tiny(name)
    without, with_ = row(lm, "{text}", text=TEXT), row(lm, FILLED, text=TEXT)
    asks = (Tokens((7, 8)), Vocabulary(), Against(lm.outputs[:3]), Hidden(at="head"), Hidden(at="slot"))
    alone = lm.read([Job(without, asks)])[0]
    together = lm.read([Job(without, asks), Job(with_, asks)])[0]
    assert [read.values.shape for read in alone] == [read.values.shape for read in together]
    assert alone[0].values.shape == (0, 2)


def test_the_bias_bart_adds_behind_its_head_counts() -> None:
    _, tokenizer, make = FAMILIES["bart"]
    backend = tokenizer()
    torch.manual_seed(0)
    model = make(len(backend), backend).eval()
    model.final_logits_bias = torch.randn(1, len(backend))
    one = row(tiny("bart"), FILLED, text=TEXT).then((9, 8))
    logits = plain(model, "seq2seq", one).logits[0]
    lm = wrap(model, backend, name="bart", kind="seq2seq")
    tokens, every, given = lm.read([Job(one, (Tokens((7, 9)), Vocabulary(), Given()))])[0]
    same(
        lm.read([Job(one, (Tokens((7, 9)),))])[0][0].values, logits[[one.slots[0].positions[0]]][:, [7, 9]], "narrowed"
    )
    same(tokens.values, logits[[one.slots[0].positions[0]]][:, [7, 9]], "gathered")
    same(every.values, logits.log_softmax(-1)[[one.slots[0].positions[0]]], "vocabulary")
    assert given.values.shape == (1, 2)
    same(plain(model, "seq2seq", one).logits[0], logits, "the plain model is as it was")


def test_a_stream_takes_no_more_than_it_needs() -> None:
    lm, one, taken = tiny("bert"), row(tiny("bert"), "a {mask}"), 0

    def jobs() -> Iterator[Job]:
        nonlocal taken
        for _ in range(CHUNK * 3):
            taken += 1
            yield Job(one, (Tokens((7,)),))

    readings = lm.stream(jobs())
    assert taken == 0
    next(readings)
    assert taken == CHUNK
    for _ in range(CHUNK):
        next(readings)
    assert taken == 2 * CHUNK


def test_a_small_budget_splits_the_work_and_changes_nothing() -> None:
    lm = tiny("bert")
    jobs = [Job(row(lm, FILLED, text="the " * n), (Tokens((7, 8)),)) for n in (1, 30, 2, 60, 3)]
    whole = lm.read(jobs)
    before, lm.budget = lm.budget, 40
    try:
        parted = lm.read(jobs)
    finally:
        lm.budget = before
    for a, b in zip(whole, parted, strict=True):
        same(a[0].values, b[0].values, "split by budget")


def test_nothing_asked_is_nothing_done() -> None:
    assert tiny("bert").read([]) == []
    assert list(tiny("bert").stream([])) == []


@pytest.mark.parametrize("name", names())
def test_embeddings(name: str) -> None:
    lm = tiny(name)
    texts = ["the cat", "", "a " * 300, "🎬"]
    found = lm.embed(texts)
    assert found.shape == (4, lm.hidden)
    assert found[1].abs().sum() == 0
    same(found[[0, 2]].norm(dim=-1), torch.ones(2), "length")
    for text, one in zip(texts, found, strict=True):
        same(lm.embed([text])[0], one, "company")
    assert lm.embed([]).shape == (0, lm.hidden)


@pytest.mark.parametrize("name", names())
def test_input_vectors_are_what_leaves_the_embedding(name: str) -> None:
    lm = tiny(name)
    ids = torch.tensor([[7, 8, 9]])
    with torch.no_grad():
        same(lm.vectors[[7, 8, 9]], lm._embedding(ids)[0], "vectors")
    assert lm.vectors.shape[1] == lm.width


def test_vectors_made_of_each_row_reach_their_own_row() -> None:
    lm = tiny("bert")

    class OfRow(Vectors):
        def vectors(self, lm: LM, rows: Sequence[Row]) -> Tensor:
            return torch.stack([lm.vectors[[len(row), len(row) + 1]] for row in rows])

    parts = {"x": OfRow(lm.vectors[:2])}
    made = [row(lm, "{text}{@x} {mask}", parts, text=text) for text in ("a", "the cat sat on", "the cat")]
    together = lm.read([Job(one, (Tokens((7, 8)),), parts) for one in made])
    for one, found in zip(made, together, strict=True):
        fixed = {"x": Vectors(lm.vectors[[len(one), len(one) + 1]])}
        same(found[0].values, lm.read([Job(one, (Tokens((7, 8)),), fixed)])[0][0].values, "made of the row")
