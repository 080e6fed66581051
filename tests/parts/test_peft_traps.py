"""Nine traps that PEFT's prompt learning is known to have, each as a test that we don't fall in.

PEFT 0.21.2 with transformers 5.23 was seen to do what the first line of each test says.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from promptatlas import registry
from promptatlas.artifact.load import load
from promptatlas.artifact.save import save
from promptatlas.data.example import Example
from promptatlas.lm.ask import Decode, Given, Job, Text, Vocabulary
from promptatlas.lm.lm import LM
from promptatlas.lm.local import LocalLM
from promptatlas.lm.site import Part
from promptatlas.methods.p_tuning_v2 import PTuningV2
from promptatlas.methods.prompt_tuning import PromptTuning
from promptatlas.parts.head import head
from promptatlas.parts.prefix import normal
from promptatlas.parts.vectors import Vectors
from promptatlas.parts.weights import LoRA, lora
from promptatlas.prompting import Prompt
from promptatlas.score.soft import Classifier
from promptatlas.testing.same import fingerprint
from promptatlas.testing.tasks import toy, toy_prompt
from promptatlas.testing.tiny import names, tiny
from promptatlas.train.loop import Term, tune
from promptatlas.train.loss import nll
from promptatlas.train.optim import Optim

TASK = toy()
# of very different lengths, so that a batch of them is mostly padding
TEXTS = tuple(Example({"text": text}) for text in ("cat", "the old grey cat sat on the mat over the hill", "rain fell"))
LENGTH = 4


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def soft(lm: LM, seed: int = 0) -> Prompt:
    return toy_prompt().lead(soft=Vectors(random(LENGTH, lm.width, seed=seed)))


def prefixed(lm: LM, seed: int = 0) -> Prompt:
    return toy_prompt().plus(prefix=normal(lm, LENGTH, seed=seed))


def shifted(lm: LM, seed: int = 0) -> Prompt:
    return toy_prompt().plus(prefix=normal(lm, LENGTH, seed=seed, positions="shifted"))


def lowered(lm: LM, seed: int = 0) -> Prompt:
    part = lora(lm, rank=2, seed=seed)
    return toy_prompt().plus(lora=LoRA(part.where, 1.0, part.down, [random(*one.shape, seed=seed) for one in part.up]))


def gradients(prompt: Prompt, lm: LM) -> dict[str, torch.Tensor]:
    (part,) = prompt.trainable().values()
    prompt.score(lm, TASK.train[:4])[:, 0].sum().backward()
    return {name: one.grad for name, one in part.named_parameters() if one.grad is not None}


def alike(one: Sequence[Sequence[Text]], other: Sequence[Sequence[Text]]) -> None:
    """The same texts, as likely."""
    for (mine,), (theirs,) in zip(one, other, strict=True):
        assert mine.ids == theirs.ids
        assert mine.logp == pytest.approx(theirs.logp, abs=1e-4)


def same(one: torch.Tensor, other: torch.Tensor) -> None:
    torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", names("seq2seq"))
def test_b1_every_vector_of_a_seq2seq_soft_prompt_is_used(family: str, tmp_path: Path) -> None:
    """PEFT trains, counts and saves twice as many vectors as it reads."""
    lm = tiny(family)
    tuned = PromptTuning(length=LENGTH, steps=2).fit(lm, TASK, toy_prompt())
    assert tuned.history[-1].figures["trained"] == LENGTH * lm.width
    kept = load(save(tuned, tmp_path / "kept"))
    assert kept.parts["soft"].tensors()["weight"].shape == (LENGTH, lm.width)
    (grown,) = gradients(soft(lm), lm).values()
    assert (grown.abs().amax(1) > 0).all()


@pytest.mark.parametrize("family", names("seq2seq"))
def test_b2_every_layer_of_a_seq2seq_prefix_is_its_own(family: str) -> None:
    """PEFT shares one prefix between layers, trains half of the tensor, and leaves cross-attention without."""
    lm = tiny(family)
    prompt = prefixed(lm)
    grown = gradients(prompt, lm)
    assert set(grown) == {"places.encoder", "places.decoder", "places.cross"}
    for one in grown.values():
        assert (one.abs().amax((2, 3, 4)) > 0).all()  # keys and values of each layer
    with torch.no_grad():
        before = prompt.score(lm, TEXTS)
        for place, values in prompt.parts["prefix"].tensors().items():
            for layer in range(len(values)):
                moved = {name: one.clone() for name, one in prompt.parts["prefix"].tensors().items()}
                moved[place][layer] += 1
                part = type(prompt.parts["prefix"]).build({}, moved)
                assert (prompt.plus(prefix=part).score(lm, TEXTS) - before).abs().max() > 1e-6, (place, layer)


@pytest.mark.parametrize("family", ["t5", "bart", "gpt2"])
def test_b5_without_its_part_a_prompt_writes_as_the_plain_model_does(family: str) -> None:
    """PEFT puts the prompt into `generate` also while the adapter is switched off, and leaves the model patched."""
    lm = tiny(family, scale=6.0)
    how = Decode(max_new=5)
    plain = toy_prompt().generate(lm, TEXTS, how)
    for made in (soft, prefixed, lowered):
        prompt = made(lm)
        written = prompt.generate(lm, TEXTS, how)
        assert [one.ids for (one,) in written] != [one.ids for (one,) in plain], made
        alike(toy_prompt().generate(lm, TEXTS, how), plain)
        jobs = [Job(row, (), one.parts) for one in (prompt, toy_prompt())
                for row in one.reader(lm).encode(one.lines(lm, TEXTS)[0])]  # fmt: skip
        alike(lm.generate(jobs, how)[len(TEXTS) :], plain)  # nor beside it, in one call


@pytest.mark.parametrize("family", ["bert", "llama", "t5"])
@pytest.mark.parametrize("made", [soft, prefixed, lowered])
def test_b7_every_row_of_a_batch_has_the_prompt_it_asks_for(family: str, made: Callable[..., Prompt]) -> None:
    """PEFT ignores `adapter_names` for prompts, and answers all rows with one of them."""
    lm = tiny(family)
    prompts = [made(lm, 1), toy_prompt(), made(lm, 2)]
    alone, jobs = [], []
    with torch.no_grad():
        for prompt in prompts:
            mine = [
                Job(row, (Vocabulary(),), prompt.parts) for row in prompt.reader(lm).encode(prompt.lines(lm, TEXTS)[0])
            ]
            alone.append(torch.stack([one[0].values for one in lm.read(mine)]))
            jobs.append(mine)
        mixed = [job for some in zip(*jobs, strict=True) for job in some]
        together = torch.stack([one[0].values for one in lm.read(mixed)])
    same(together, torch.stack(alone, 1).flatten(0, 1))
    assert (alone[0] - alone[2]).abs().max() > 1e-3


SOFT = [one for one in ("prompt_tuning", "p_tuning", "prefix_tuning", "p_tuning_v2") if one in registry.names()]


@pytest.mark.parametrize("name", SOFT)
def test_b8_a_prompt_that_is_loaded_again_is_the_same(name: str, tmp_path: Path) -> None:
    """PEFT puts P-tuning's vectors through its encoder once more when a checkpoint is loaded into the live model."""
    lm = tiny("gpt2")
    tuned = registry.method(name, steps=2).fit(lm, TASK, toy_prompt())
    with torch.no_grad():
        scores = tuned.score(lm, TEXTS)
        once = load(save(tuned, tmp_path / "once"))
        twice = load(save(once, tmp_path / "twice"))
        for one in (once, twice, tuned):
            assert torch.equal(one.score(lm, TEXTS), scores)
    first, second = (tmp_path / one / "parts.safetensors" for one in ("once", "twice"))
    assert first.read_bytes() == second.read_bytes()


def classified(lm: LocalLM) -> Prompt:
    part = head(lm, 2, seed=3, scale=1.0)
    return replace(soft(lm).plus(head=part), words=Classifier(labels=("a", "b"), pool="last"))


@pytest.mark.parametrize("family", names("causal"))
def test_b9_a_decoder_s_classifier_reads_the_last_token_and_no_padding(family: str) -> None:
    """PEFT's sequence classifier can't see the padding behind vectors, and reads the state of a pad."""
    lm = tiny(family)
    prompt = classified(lm)
    with torch.no_grad():
        scores = prompt.score(lm, TEXTS)
        same(scores, torch.cat([prompt.score(lm, [one]) for one in TEXTS]))
        states = []
        for row in prompt.reader(lm).encode(prompt.lines(lm, TEXTS)[0]):
            embedded = lm.vectors[torch.tensor(row.ids)].clone()
            (span,) = [span for span in row.spans if span.kind == "part"]
            embedded[span.start : span.end] = prompt.parts["soft"].weight
            states.append(lm.body(inputs_embeds=embedded[None]).last_hidden_state[0, -1])
        logits = prompt.parts["head"](torch.stack(states))
    same(scores, logits.log_softmax(-1))


@pytest.mark.parametrize("family", names("causal"))
@pytest.mark.parametrize("made", [soft, prefixed, shifted])
def test_b11_padding_on_the_left_doesn_t_come_between_prompt_and_text(family: str, made: Callable[..., Prompt]) -> None:
    """PEFT puts the prompt before the padding and drops the positions, so that a row's score hangs on its company."""
    left, right = tiny(family, left=True), tiny(family)
    prompt = made(left)
    with torch.no_grad():
        scores = prompt.score(left, TEXTS)
        same(scores, torch.cat([prompt.score(left, [one]) for one in TEXTS]))
        same(scores, prompt.score(right, TEXTS))
    for how in (Decode(max_new=4), Decode(max_new=4, beams=3)):
        alike(prompt.generate(left, TEXTS, how), [prompt.generate(left, [one], how)[0] for one in TEXTS])


@pytest.mark.parametrize("family", names("causal"))
@pytest.mark.parametrize("made", [soft, prefixed, shifted])
def test_b12_what_is_kept_of_a_beginning_has_the_prompt_in_it_once(family: str, made: Callable[..., Prompt]) -> None:
    """PEFT puts the prompt in again when the next pass is given the cache of the last, or throws the cache away."""
    lm = tiny(family)
    prompt = made(lm)
    rows = prompt.reader(lm).encode(prompt.lines(lm, TEXTS)[0])
    answers = [(20, 21, 22), (20, 23), (24,)]
    jobs = [Job(row.then(answer), (Given(),), prompt.parts) for row in rows for answer in answers]
    with torch.no_grad():
        lm.kept.clear()
        first = [one[0].values for one in lm.read(jobs)]
        again = [one[0].values for one in lm.read(jobs)]  # now behind what was kept
        longer = [Job(row, (Vocabulary(),), prompt.parts) for row in rows]
        at_slot = [one[0].values[0] for one in lm.read(longer)]
    for one, other, job in zip(first, again, jobs, strict=True):
        same(one, other)
        same(one[0, 0], at_slot[rows.index(replace(job.row, answer=()))][job.row.answer[0]])
    (text,) = prompt.generate(lm, TEXTS[:1], Decode(max_new=4))[0]
    if len(text.ids) == 4:  # token after token with a cache, and all at once
        with torch.no_grad():
            ((read,),) = lm.read([Job(rows[0].then(text.ids), (Given(),), prompt.parts)])
        assert float(read.values.sum()) == pytest.approx(text.logp, abs=1e-4)


FITTED = (PromptTuning(length=LENGTH, steps=2), PTuningV2(length=LENGTH, steps=2, answer="words"))


@pytest.mark.parametrize("method", FITTED, ids=lambda one: one.name)
def test_b14_a_loaded_prompt_can_be_trained_on(method: PromptTuning | PTuningV2, tmp_path: Path) -> None:
    """PEFT refuses to load a prompt to train it, and leaves the one that it says is frozen to be trained."""
    lm = tiny("bert")
    before = fingerprint(lm)
    tuned = method.fit(lm, TASK, toy_prompt())
    loaded = load(save(tuned, tmp_path / "kept"))
    (name,) = loaded.trainable()
    start = loaded.parts[name].tensors()
    more = replace(method, lr=1e-2).fit(lm, TASK, loaded)
    for key, one in more.parts[name].tensors().items():
        assert 0 < (one - start[key]).abs().max() < 0.1  # on from there, not afresh
    assert _equal(loaded.parts[name].tensors(), tuned.parts[name].tensors())
    frozen = loaded.plus(
        **{name: type(loaded.parts[name]).build(loaded.parts[name].config(), start).requires_grad_(False)}
    )
    assert frozen.trainable() == {}
    both = frozen.lead(other=Vectors(random(2, lm.width)))
    terms = [Term(TASK.train, nll, batch=4)]
    trained = tune(both, lm, terms, optim=Optim(lr=0.1), steps=2, seed=0, flat=None)
    assert _equal(trained.parts[name].tensors(), start)  # frozen is frozen
    assert not _equal(trained.parts["other"].tensors(), both.parts["other"].tensors())
    assert fingerprint(lm) == before


def _equal(one: Part | dict, other: Part | dict) -> bool:
    return all(torch.equal(one[key], other[key]) for key in one)
