"""A prefix that moves the text behind it is the model run on a cache of the same keys and values."""

import pytest
import torch
from transformers import DynamicCache, EncoderDecoderCache

from promptatlas.errors import CannotAttach, TooLong
from promptatlas.lm.ask import Decode, Given, Job, Reading, Vocabulary
from promptatlas.lm.local import LocalLM
from promptatlas.lm.row import Row
from promptatlas.parts.prefix import Prefix, normal
from promptatlas.testing import check_part
from promptatlas.testing.tasks import toy, toy_prompt
from promptatlas.testing.tiny import tiny

LENGTH = 5
FAMILIES = ("bert", "roberta", "gpt2", "llama", "qwen2", "opt", "t5")


def made(lm: LocalLM, *, shifted: bool = True, seed: int = 1) -> Prefix:
    places = ["decoder"] if lm.kind == "seq2seq" else None
    return normal(lm, LENGTH, seed=seed, places=places, positions="shifted" if shifted else "unshifted")


def rows(lm: LocalLM, part: Prefix) -> list[Row]:
    prompt = toy_prompt().plus(prefix=part)
    return prompt.reader(lm).encode(prompt.lines(lm, toy().test[:6])[0])


def read(lm: LocalLM, part: Prefix, some: list[Row]) -> list[Reading]:
    with torch.no_grad():
        return lm.read([Job(row, (Vocabulary(),), {"prefix": part}) for row in some])


def by_cache(lm: LocalLM, part: Prefix, row: Row) -> torch.Tensor:
    """Log-probabilities at the slot, by transformers' own cache."""
    (layers,) = part.tensors().values()
    cache, ids = DynamicCache([(one[0][None], one[1][None]) for one in layers]), torch.tensor([row.ids])
    with torch.no_grad():
        if lm.kind == "seq2seq":
            both = EncoderDecoderCache(cache, DynamicCache())
            out = lm.model(input_ids=ids, decoder_input_ids=torch.tensor([row.feed]), past_key_values=both)
        else:
            out = lm.model(input_ids=ids, past_key_values=cache)
    return out.logits[0, row.slots[0].positions[0]].log_softmax(-1)


@pytest.mark.parametrize("family", FAMILIES)
def test_reads_as_the_model_does_behind_a_cache(family: str) -> None:
    lm = tiny(family)
    part = made(lm)
    some = rows(lm, part)
    found = torch.stack([one[0].values[0] for one in read(lm, part, some)])
    torch.testing.assert_close(found, torch.stack([by_cache(lm, part, row) for row in some]), atol=1e-5, rtol=0)
    still = torch.stack([one[0].values[0] for one in read(lm, made(lm, shifted=False), some)])
    assert (found - still).abs().max() > 1e-3  # positions do matter to it


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_of_all_sorts_share_a_call(family: str) -> None:
    lm = tiny(family)
    moved, still = made(lm), made(lm, shifted=False)
    some = rows(lm, moved)
    parts = [{"prefix": moved}, {"prefix": still}, {}, {"prefix": made(lm, seed=2)}, {"prefix": moved}, {}]
    jobs = [Job(row, (Vocabulary(),), one) for row, one in zip(some, parts, strict=True)]
    with torch.no_grad():
        together = lm.read(jobs)
        for job, one in zip(jobs, together, strict=True):
            torch.testing.assert_close(one[0].values, lm.read([job])[0][0].values, atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", ["gpt2", "llama", "opt", "t5"])
def test_answers_branch_and_are_written_behind_it(family: str) -> None:
    lm = tiny(family)
    part = made(lm)
    parts = {"prefix": part}
    some = rows(lm, part)
    jobs = [Job(row, (), parts) for row in some]
    texts = [text for (text,) in lm.generate(jobs, Decode(max_new=4))]
    answers = [Job(row.then(text.ids), (Given(),), parts) for row, text in zip(some, texts, strict=True) if text.ids]
    assert answers
    with torch.no_grad():
        scored = [float(one[0].values.sum()) for one in lm.read(answers)]
    whole = [text for text in texts if text.ids]
    for text, score in zip(whole, scored, strict=True):
        if len(text.ids) == 4:  # else the end mark is in the text's score, and not in the answer's
            assert score == pytest.approx(text.logp, abs=1e-4)
    assert any(len(text.ids) == 4 for text in whole)


def test_a_part_like_any_other() -> None:
    check_part(made, tiny("gpt2"))
    check_part(made, tiny("t5"))


def test_it_takes_its_length_of_the_window() -> None:
    lm = tiny("gpt2")
    long = toy_prompt().plus(prefix=normal(lm, lm.window - 1, seed=0, positions="shifted"))
    with pytest.raises(TooLong, match="the model has room for 1"):
        long.score(lm, toy().test[:1])
    full = toy_prompt().plus(prefix=normal(lm, lm.window - 6, seed=0, positions="shifted"))
    assert full.score(lm, [{"text": "the cat " * 50}]).isfinite().all()


def test_what_can_t_be_shifted() -> None:
    bart = tiny("bart")
    with pytest.raises(CannotAttach, match="counts its positions itself"):
        toy_prompt().plus(prefix=made(bart)).score(bart, toy().test[:1])
    assert normal(tiny("t5"), 2, seed=0, positions="shifted").shift == 0  # what an encoder reads stays where it is
