"""Every fast way of reading says what the plain way says, and passes the same gradients on."""

from collections.abc import Mapping, Sequence

import pytest
import torch
from tests.lm.rows import row
from torch import Tensor, nn

from promptatlas.lm.ask import Against, Given, Hidden, Job, Places, Tokens, Vocabulary
from promptatlas.lm.local import LocalLM
from promptatlas.lm.site import Part
from promptatlas.lm.ways import Ways, reach
from promptatlas.parts.prefix import normal
from promptatlas.parts.vectors import vocabulary
from promptatlas.parts.weights import lora
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
        for wanted, found, again in zip(lm.read_by(jobs, Ways()), lm.read(jobs), lm.read(jobs), strict=True):
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
    readings = lm.read_by(jobs, ways)
    sum(one.values.float().square().mean() for reading in readings for one in reading).backward()  # type: ignore[union-attr]
    return [one.grad for one in part.parameters() if one.grad is not None]


def test_mixed_prompts_share_one_pass() -> None:
    lm = tiny("gpt2")
    jobs = [job for kind in ("plain", "soft", "late", "prefix") for job in jobs_of(lm, kind)]
    with torch.no_grad():
        for found, wanted in zip(lm.read(jobs), lm.read_by(jobs, Ways()), strict=True):
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
    from itertools import permutations

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
        same(after, lm.read_by(jobs, Ways())[0][0].values, "after a step")
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
    for found, wanted in zip(lm.read(jobs), lm.read_by(jobs, Ways()), strict=True):
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
