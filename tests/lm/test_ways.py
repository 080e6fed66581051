"""Every fast way of reading says what the plain way says, and passes the same gradients on."""

from collections.abc import Mapping, Sequence
from itertools import permutations

import pytest
import torch
from tests.lm.rows import row
from torch import Tensor, nn

from promptatlas.lm.ask import Against, Given, Hidden, Job, Places, Tokens, Vocabulary
from promptatlas.lm.engine import read_by
from promptatlas.lm.local import LocalLM
from promptatlas.lm.site import Part
from promptatlas.lm.ways import Ways, reach
from promptatlas.parts.prefix import normal
from promptatlas.parts.vectors import Vectors, vocabulary
from promptatlas.parts.weights import Values, lora
from promptatlas.testing.same import same, same_readings
from promptatlas.testing.tiny import names, tiny

SHOWN = "the cat sat on the old grey town . It was grand . " * 2
TEXTS = ("a dog ran", "the cat sat on the old grey town and it ran over the hill", "the hill", "a")
ANSWERS = ((7, 8, 9), (7, 8, 6), (9, 7), (5,))
WORDS = (5, 7, 9)
FAST = [name for name in names() if name != "deberta-v2"]
KINDS = ("plain", "soft", "late", "prefix", "lora")


def parts_of(lm: LocalLM, kind: str) -> tuple[str, dict[str, Part]]:
    """A template and parts: vectors in front, vectors behind the text, keys and values, other weights."""
    template = SHOWN + "{text} It was {mask}"
    if kind in ("soft", "late"):
        where = "{@x}" + template if kind == "soft" else SHOWN + "{text}{@x} It was {mask}"
        return where, {"x": vocabulary(lm, 6, seed=1)}
    if kind == "prefix":
        return template, {"x": normal(lm, 4, seed=1)}
    return template, {"x": lora(lm, rank=2, places=("attention.out",), seed=1)} if kind == "lora" else {}


def jobs_of(lm: LocalLM, kind: str) -> list[Job]:
    template, parts = parts_of(lm, kind)
    rows = [row(lm, template, parts, text=text) for text in TEXTS]
    asks = (Tokens(WORDS, mass=True), Vocabulary(), Hidden(), Hidden(at="head"), Against(lm.outputs[list(WORDS)]))
    jobs = [Job(one, asks, parts) for one in rows]
    if lm.kind != "masked":
        jobs += [Job(one.then(answer), (Given(),), parts) for one in rows for answer in ANSWERS]
    jobs.append(Job(rows[1], (Hidden(at="mean"), Hidden(at="first"), Hidden(layers=(0, 1), at="last")), parts))
    return jobs


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FAST)
def test_fast_is_plain(name: str, kind: str) -> None:
    lm = tiny(name)
    jobs = jobs_of(lm, kind)
    with torch.no_grad():
        for wanted, found, again in zip(read_by(lm, jobs, Ways()), lm.read(jobs), lm.read(jobs), strict=True):
            same_readings(found, wanted, f"{name} {kind}")
            same_readings(again, wanted, f"{name} {kind}, from what was kept")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "plain"])
@pytest.mark.parametrize("name", FAST)
def test_gradients_are_the_plain_ones(name: str, kind: str) -> None:
    lm = tiny(name)
    found = _gradients(lm, jobs_of(lm, kind), lm.fast.ways)
    wanted = _gradients(lm, jobs_of(lm, kind), Ways())
    assert max(float(one.abs().max()) for one in wanted) > 0
    for one, wanted_one in zip(found, wanted, strict=True):
        same(one, wanted_one, f"{name} {kind}")


def _gradients(lm: LocalLM, jobs: Sequence[Job], ways: Ways) -> list[Tensor]:
    (part,) = jobs[0].parts.values()
    assert isinstance(part, nn.Module)
    readings = read_by(lm, jobs, ways)
    sum(one.values.float().square().mean() for reading in readings for one in reading).backward()  # type: ignore[union-attr]
    return [one.grad for one in part.parameters() if one.grad is not None]


def test_mixed_prompts_share_one_pass() -> None:
    lm = tiny("gpt2")
    jobs = [job for kind in ("plain", "soft", "late", "prefix") for job in jobs_of(lm, kind)]
    with torch.no_grad():
        for found, wanted in zip(lm.read(jobs), read_by(lm, jobs, Ways()), strict=True):
            same_readings(found, wanted, "mixed")


def _spent(lm: LocalLM, jobs: Sequence[Job]) -> int:
    before = lm.spent.tokens
    with torch.no_grad():
        lm.read(jobs)
    return lm.spent.tokens - before


def _told(lm: LocalLM, template: str, texts: Sequence[str], parts: Mapping[str, Part] | None = None) -> list[Job]:
    return [Job(row(lm, template, parts, text=text), (Tokens(WORDS),), parts or {}) for text in texts]


def test_padding_is_not_run() -> None:
    lm = tiny("bert")
    jobs = _told(lm, "{text} It was {mask}", TEXTS)
    assert _spent(lm, jobs) == sum(len(job.row) for job in jobs)


def test_what_rows_begin_with_is_run_once_and_then_kept() -> None:
    lm = tiny("llama")
    lm.kept.clear()
    jobs = _told(lm, SHOWN + "{text} It was {mask}", TEXTS)
    own = [len(job.row) for job in jobs]
    start = next(span.start for span in jobs[0].row.spans if span.kind == "field")
    rest = sum(own) - start * len(own)
    assert _spent(lm, jobs) == start + rest
    assert _spent(lm, jobs) == rest
    assert len(lm.kept) == 1


def test_prompts_that_were_read_before_cost_their_texts_alone() -> None:
    lm = tiny("gpt2")
    lm.kept.clear()
    prompts: list[dict[str, Part]] = [{"x": vocabulary(lm, 10, seed=seed)} for seed in range(3)]
    jobs = [job for parts in prompts for job in _told(lm, "{@x}{text} It was {mask}", TEXTS[:2], parts)]
    assert _spent(lm, jobs) == sum(len(job.row) for job in jobs) - 10 * len(prompts)
    assert _spent(lm, jobs) == sum(len(job.row) - 10 for job in jobs)


def test_answers_to_one_text_cost_their_own_tokens() -> None:
    lm = tiny("gpt2")
    one = row(lm, "{text} It was {mask}", text=TEXTS[1])
    jobs = [Job(one.then(answer), (Given(),)) for answer in ANSWERS]
    assert _spent(lm, jobs) == len(one) + 3  # 7, 7 8 and 9: the last token of an answer is not run


def test_a_seq2seq_encoder_reads_a_text_once() -> None:
    lm = tiny("t5")
    one = row(lm, "{text} It was {mask}", text=TEXTS[1])
    jobs = [Job(one.then(answer), (Given(),)) for answer in ANSWERS]
    assert _spent(lm, jobs) == len(one) + len(one.feed) + 3


def test_orders_of_demonstrations_share_what_they_begin_with() -> None:
    lm = tiny("gpt2")
    lm.kept.clear()
    shown = [f"Review: {text} . It was grand and the town sat on the cat . " for text in ("ran", "sat", "old", "hill")]
    texts = ("a dog", "the cat", "a hill")
    jobs = [job for order in permutations(shown) for job in _told(lm, "".join(order) + "{text} It was {mask}", texts)]
    demo = max(len(lm.tokens(one)) for one in shown) + 2
    rest = max(len(lm.tokens(f"{text} It was")) for text in texts) + 2
    assert _spent(lm, jobs) <= 64 * demo + 24 * len(texts) * rest


def test_training_changes_what_is_kept() -> None:
    lm = tiny("gpt2")
    parts: dict[str, Part] = {"x": vocabulary(lm, 12, seed=1)}
    jobs = _told(lm, "{@x}{text} It was {mask}", TEXTS, parts)
    with torch.no_grad():
        before = lm.read(jobs)[0][0].values
        part = parts["x"]
        assert isinstance(part, nn.Module)
        for one in part.parameters():
            one.mul_(2.0)
        after = lm.read(jobs)[0][0].values
        same(after, read_by(lm, jobs, Ways())[0][0].values, "after a step")
    assert float((after - before).abs().max()) > 1e-4


def test_text_before_trained_vectors_is_run_once_for_all_epochs() -> None:
    lm = tiny("gpt2")
    lm.kept.clear()
    template, parts = parts_of(lm, "late")
    jobs = _told(lm, template, [text + " and it ran over the grand old town" for text in TEXTS], parts)
    first = lm.spent.tokens
    lm.read(jobs)
    second = lm.spent.tokens
    lm.read(jobs)
    third = lm.spent.tokens
    behind = sum(len(job.row) - next(s.start for s in job.row.spans if s.kind == "part") for job in jobs)
    assert third - second == behind
    assert second - first > behind


def test_a_vocabulary_is_read_at_every_place_of_many() -> None:
    lm = tiny("gpt2")
    jobs = [Job(job.row, (Places((1, 3), (5, 7)),)) for job in _told(lm, SHOWN + "{text}", TEXTS)]
    for found, wanted in zip(lm.read(jobs), read_by(lm, jobs, Ways()), strict=True):
        same_readings(found, wanted, "places inside what is shared")


def test_models_that_cannot_say_why() -> None:
    found = tiny("deberta-v2").fast
    assert found.ways == Ways()
    assert "attention interface" in found.why["pack"]
    assert "depends on the rest" in found.why["share"]
    assert "pad on the left" in tiny("gpt2", left=True).fast.why["pack"]


def test_how_far_attention_looks_back() -> None:
    assert reach(tiny("gpt2").model.config) > 1 << 20
    assert reach(tiny("modernbert").model.config) < 1 << 20


@pytest.mark.parametrize("name", ["bert", "gpt2", "t5"])
def test_a_frozen_body_is_run_once_under_learned_rows(name: str) -> None:
    lm = tiny(name)
    lm.kept.clear()
    rows = lm.outputs[list(WORDS)].clone().requires_grad_()
    bias = torch.zeros(len(WORDS), requires_grad=True)
    made = [row(lm, "{text} It was {mask}", text=text) for text in TEXTS]
    jobs = [Job(one, (Against(rows, bias), Hidden(at="mean"))) for one in made]
    wanted = read_by(lm, jobs, Ways())
    spent = lm.spent.tokens
    first = lm.read(jobs)
    assert lm.spent.tokens > spent
    spent = lm.spent.tokens
    second = lm.read(jobs)
    assert lm.spent.tokens == spent
    grads = []
    for readings in (wanted, first, second):
        rows.grad = bias.grad = None
        sum(one[0].values.square().sum() for one in readings).backward()  # type: ignore[union-attr]
        assert rows.grad is not None
        assert bias.grad is not None
        grads.append((rows.grad, bias.grad))
    for readings, (of_rows, of_bias) in zip((first, second), grads[1:], strict=True):
        for found, right in zip(readings, wanted, strict=True):
            same_readings(found, right, name)
        same(of_rows, grads[0][0], "gradient of rows")
        same(of_bias, grads[0][1], "gradient of biases")


TOP = ["bert", "roberta", "modernbert", "gpt2", "llama", "qwen2", "opt"]


def _top(lm: LocalLM) -> Values:
    """The biases and gains of the last layer."""
    last = lm.blocks[-1] + "."
    found = {name: value for name, value in lm.parameters.items() if name.startswith(last) and value.ndim == 1}
    return Values(found)


@pytest.mark.parametrize("name", TOP)
def test_layers_below_the_lowest_trained_one_are_run_once(name: str) -> None:
    lm = tiny(name)
    lm.kept.clear()
    parts: dict[str, Part] = {"top": _top(lm), "x": vocabulary(lm, 3, seed=1)}
    (soft,) = [part for part in parts.values() if isinstance(part, Vectors)]
    soft.requires_grad_(False)
    jobs = [Job(row(lm, "{@x}{text} It was {mask}", parts, text=text), (Vocabulary(),), parts) for text in TEXTS]
    lm.kept.limit, limit = 0, lm.kept.limit
    plain, wanted = read_by(lm, jobs, Ways()), _grads(lm, jobs, parts["top"])
    lm.kept.limit = limit
    blocks = lm.model.get_submodule(lm.blocks[0])
    calls: list[int] = []
    handle = next(blocks.children()).register_forward_hook(lambda *_: calls.append(1))
    try:
        for turn, passes in enumerate((1, 1)):
            for one, right in zip(lm.read(jobs), plain, strict=True):
                same_readings(one, right, f"{name}, turn {turn}")
            for grad, right_grad in zip(_grads(lm, jobs, parts["top"]), wanted, strict=True):
                same(grad, right_grad, f"{name}, turn {turn}")
            assert len(calls) == passes, "the first layer was run again"
    finally:
        handle.remove()


def _grads(lm: LocalLM, jobs: Sequence[Job], part: Part) -> list[Tensor]:
    assert isinstance(part, nn.Module)
    part.zero_grad()
    sum(one[0].values.square().mean() for one in lm.read(jobs)).backward()  # type: ignore[union-attr]
    return [one.grad.clone() for one in part.parameters() if one.grad is not None]


@pytest.mark.parametrize("kind", ["soft", "prefix", "lora"])
@pytest.mark.parametrize("name", [*TOP, "t5", "bart"])
def test_checkpointing_changes_no_gradient(name: str, kind: str) -> None:
    lm = tiny(name)
    jobs = jobs_of(lm, kind)
    (part,) = jobs[0].parts.values()
    wanted = _grads(lm, jobs, part)
    lm.checkpointing = True
    try:
        found = _grads(lm, jobs, part)
    finally:
        lm.checkpointing = False
    for one, right in zip(found, wanted, strict=True):
        same(one, right, f"{name} {kind}")
