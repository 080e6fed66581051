from typing import Any

import pytest
import torch
from tests.lm.rows import bare, row

from promptatlas.errors import ModelError, SettingError, TooLong
from promptatlas.lm.ask import Decode, Given, Job, Text, Vocabulary
from promptatlas.lm.local import LocalLM
from promptatlas.parts.prefix import normal
from promptatlas.parts.tokens import Tokens
from promptatlas.parts.vectors import Vectors, vocabulary
from promptatlas.parts.weights import lora
from promptatlas.testing.tiny import tiny

FILLED = "{text} It was {mask}"
TEXTS = ("The cat sat on the old grey town", "a", "a dog ran over")
WRITING = ["gpt2", "llama", "t5", "bart"]


def write(lm: LocalLM, how: Decode, parts: Any = None, *texts: str) -> list[list[Text]]:
    return lm.generate([Job(row(lm, FILLED, parts, text=text), (), parts or {}) for text in texts or TEXTS], how)


def ids(texts: list[list[Text]]) -> list[tuple[int, ...]]:
    return [text.ids for some in texts for text in some]


def theirs(name: str, text: str, **settings: Any) -> list[tuple[int, ...]]:
    """transformers' own generation of one row, up to the end mark."""
    lm, model = tiny(name), bare(name)
    one = row(lm, FILLED, text=text)
    inputs = {"input_ids": torch.tensor([one.ids]), "attention_mask": torch.ones(1, len(one), dtype=torch.long)}
    if lm.kind == "seq2seq":
        inputs["decoder_input_ids"] = torch.tensor([one.feed])
    out = model.generate(**inputs, do_sample=False, pad_token_id=lm.tokenizer.pad, **settings)
    begin, end = len(one.feed) or len(one), model.generation_config.eos_token_id
    found = [tuple(made[begin:]) for made in out.tolist()]
    return [made[: made.index(end)] if end in made else made for made in found]


@pytest.mark.parametrize("name", WRITING)
def test_greedy_is_transformers_own(name: str) -> None:
    found = write(tiny(name), Decode(max_new=6))
    assert ids(found) == [theirs(name, text, max_new_tokens=6)[0] for text in TEXTS]
    assert len(set(ids(found))) > 1


@pytest.mark.parametrize("name", WRITING)
def test_beams_are_transformers_own(name: str) -> None:
    found = write(tiny(name), Decode(max_new=5, beams=4, n=2, length_penalty=0.5))
    wanted = [
        theirs(name, text, max_new_tokens=5, num_beams=4, num_return_sequences=2, length_penalty=0.5) for text in TEXTS
    ]
    assert [[text.ids for text in some] for some in found] == wanted


@pytest.mark.parametrize("name", WRITING)
@pytest.mark.parametrize("how", [Decode(max_new=4), Decode(max_new=4, beams=3)], ids=["greedy", "beams"])
def test_a_texts_log_probability_is_its_tokens(name: str, how: Decode) -> None:
    lm = tiny(name)
    for text, (found,) in zip(TEXTS, write(lm, how), strict=True):
        end = () if len(found.ids) == how.max_new else (lm.model.generation_config.eos_token_id,)
        one = row(lm, FILLED, text=text).then((*found.ids, *end))
        assert found.logp == pytest.approx(float(lm.read([Job(one, (Given(),))])[0][0].values.sum()), abs=1e-4)
        assert lm.text(found.ids) == found.text


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("name", ["gpt2", "llama", "t5"])
def test_vectors_of_real_tokens_write_what_the_tokens_write(name: str, beams: int) -> None:
    lm, how = tiny(name), Decode(max_new=5, beams=beams)
    found = []
    for part in (Tokens((9, 8, 7)), Vectors(lm.vectors[[9, 8, 7]])):
        parts = {"x": part}
        made = [row(lm, "{start}{@x}{text} It was {mask}", parts, text=text) for text in TEXTS]
        found.append(ids(lm.generate([Job(one, (), parts) for one in made], how)))
    assert found[0] == found[1]
    assert found[0] != ids(write(lm, how))


@pytest.mark.parametrize("kind", ["prefix", "lora", "vectors"])
@pytest.mark.parametrize("name", WRITING)
def test_what_is_written_with_parts_is_what_is_likeliest_with_parts(name: str, kind: str) -> None:
    lm = tiny(name)
    part = {"prefix": normal(lm, 3, seed=0, scale=2.0), "lora": lora(lm, rank=2), "vectors": vocabulary(lm, 3, seed=0)}[
        kind
    ]
    template = "{@x}{text} It was {mask}" if kind == "vectors" else FILLED
    parts = {"x": part}
    with torch.no_grad():
        if kind == "lora":
            for one in part.up:
                one.copy_(torch.randn(one.shape, generator=torch.Generator().manual_seed(1)))
        made = [row(lm, template, parts, text=text) for text in TEXTS]
        for one, (found,) in zip(
            made, lm.generate([Job(one, (), parts) for one in made], Decode(max_new=4)), strict=True
        ):
            assert found.ids == _stepwise(lm, one, parts, 4)


def _stepwise(lm: LocalLM, one: Any, parts: Any, most: int) -> tuple[int, ...]:
    answer: tuple[int, ...] = ()
    vocabulary_ = range(len(lm.vectors))
    while len(answer) < most:
        if not answer:
            step = lm.read([Job(one, (Vocabulary(),), parts)])[0][0].values[0]
        else:  # the answer's log-probability with each token after it
            jobs = [Job(one.then((*answer, token)), (Given(),), parts) for token in vocabulary_]
            step = torch.stack([reading[0].values[0, -1] for reading in lm.read(jobs)])
        best = int(step.argmax())
        if best == lm.model.generation_config.eos_token_id:
            break
        answer += (best,)
    return answer


def test_vectors_alone_are_put_in_once() -> None:
    lm = tiny("gpt2")
    parts = {"x": Vectors(lm.vectors[[9]])}
    one = row(lm, "{@x}{mask}", parts)
    assert len(one) == 1  # as long as every later step
    (found,) = lm.generate([Job(one, (), parts)], Decode(max_new=4))[0]
    real = {"x": Tokens((9,))}
    assert found.ids == lm.generate([Job(row(lm, "{@x}{mask}", real), (), real)], Decode(max_new=4))[0][0].ids


@pytest.mark.parametrize("name", ["gpt2", "t5"])
def test_samples_are_as_many_as_asked_and_the_seeds_own(name: str) -> None:
    lm = tiny(name)
    state = torch.get_rng_state()
    found = [write(lm, Decode(max_new=5, temperature=1.0, n=3, seed=seed)) for seed in (0, 0, 1)]
    assert ids(found[0]) == ids(found[1])
    assert ids(found[0]) != ids(found[2])
    assert [len(some) for some in found[0]] == [3, 3, 3]
    assert len(set(ids(found[0]))) > 5
    assert torch.equal(torch.get_rng_state(), state)


def test_samples_under_parts() -> None:
    lm = tiny("gpt2")
    parts = {"x": vocabulary(lm, 3, seed=0), "prefix": normal(lm, 2, seed=0)}
    one = row(lm, "{@x}{text} {mask}", parts, text="a")
    other = Job(row(lm, FILLED, text=TEXTS[0]), (), {})
    found = lm.generate([Job(one, (), parts), other], Decode(max_new=3, temperature=0.01, n=2))
    greedy = lm.generate([Job(one, (), parts), other], Decode(max_new=3))
    assert [text.ids for some in found for text in some] == [some[0].ids for some in greedy for _ in range(2)]


def test_top_k_of_one_is_greedy() -> None:
    lm = tiny("gpt2")
    assert ids(write(lm, Decode(max_new=5, temperature=1.0, top_k=1))) == ids(write(lm, Decode(max_new=5)))
    assert ids(write(lm, Decode(max_new=5, temperature=1.0, top_p=1e-6))) == ids(write(lm, Decode(max_new=5)))


def test_writing_ends_before_a_stop() -> None:
    lm = tiny("gpt2")
    free = [some[0] for some in write(lm, Decode(max_new=8))]
    stop = lm.text(free[0].ids[3:5])
    stopped = [some[0] for some in write(lm, Decode(max_new=8, stop=(stop,)))]
    assert stopped[0].text == free[0].text[: free[0].text.index(stop)]
    assert stopped[0].ids == free[0].ids[: len(stopped[0].ids)]
    assert len(stopped[0].ids) <= 3
    for one, whole in zip(stopped, free, strict=True):
        assert stop not in one.text
        if stop not in whole.text:  # a row that goes on while another has stopped is as it was
            assert one == whole


def test_what_is_forbidden_is_not_written() -> None:
    lm = tiny("llama")
    free = write(lm, Decode(max_new=6))[0][0]
    word = lm.text(free.ids[:1]).strip()
    assert word
    barred = write(lm, Decode(max_new=6, forbid=(word,)))[0][0]
    assert word not in barred.text.split()


def test_a_models_own_habits_of_writing_are_left_out() -> None:
    lm = tiny("gpt2")
    assert lm.model.generation_config.repetition_penalty in (None, 1.0)
    assert lm.model.generation_config.no_repeat_ngram_size in (None, 0)


def test_a_masked_model_does_not_write() -> None:
    assert "generate" not in tiny("bert").can
    with pytest.raises(ModelError, match="a masked model can't write on: tiny-bert"):
        write(tiny("bert"), Decode())


def test_several_texts_need_sampling_or_beams() -> None:
    with pytest.raises(SettingError, match="3 texts a row need sampling"):
        write(tiny("gpt2"), Decode(n=3))


@pytest.mark.parametrize("name", ["gpt2", "bart"])
def test_writing_past_the_window_is_refused(name: str) -> None:
    lm = tiny(name)
    one = row(lm, FILLED, text="the " * 300)
    with pytest.raises(TooLong, match="don't fit the window of 160"):
        lm.generate([Job(one, ())], Decode(max_new=10))
    fits = row(lm, FILLED, text="the " * 300, room=10)
    lm.generate([Job(fits, ())], Decode(max_new=10))
