import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from tests.train import small

from promptatlas.data.example import Example
from promptatlas.errors import DataError, NeedsError, SettingError
from promptatlas.lm.ask import Job, Places, Reading, Vocabulary
from promptatlas.lm.local import LocalLM
from promptatlas.lm.row import Slot
from promptatlas.prompting import Prompt
from promptatlas.testing.tiny import tiny
from promptatlas.text.template import Template
from promptatlas.train.loss import Batch, generator, margin, masked_lm, nll, soft


def batch(count: int, indices: tuple[int, ...] | None = None) -> Batch:
    places = tuple(range(count)) if indices is None else indices
    return Batch(tuple(small.examples()[at] for at in places), places, 3, generator(0), seed=7)


def test_nll_is_minus_the_score_of_the_target() -> None:
    prompt, lm = small.prompt(), small.lm()
    scores = prompt.score(lm, small.examples(4))
    assert nll(prompt, lm, batch(4)).tolist() == pytest.approx([-scores[at, at % 2].item() for at in range(4)])


def test_nll_of_what_is_no_label_names_the_example_and_the_labels() -> None:
    odd = Batch((Example({"text": "a dog"}, "sideways", "17"),), (0,), 0, generator(0))
    with pytest.raises(DataError) as caught:
        nll(small.prompt(), small.lm(), odd)
    assert (
        str(caught.value) == "example `17` has the target 'sideways', which is no label\n\nhint: there are `up`, `down`"
    )


def soft_loss(
    monkeypatch: pytest.MonkeyPatch, student: list[list[float]], teacher: list[list[float]], temperature: float
) -> torch.Tensor:
    scores = torch.tensor(student, requires_grad=True)
    monkeypatch.setattr(Prompt, "score", lambda self, lm, examples: scores.log_softmax(-1))
    return soft(torch.tensor(teacher), temperature)(small.prompt(), small.lm(), batch(len(student)))


def test_soft_at_the_oracle(monkeypatch: pytest.MonkeyPatch) -> None:
    assert soft_loss(monkeypatch, [[0.0, 0.0]], [[1.6, 1.2]], 2.0).item() == pytest.approx(0.0199004, abs=5e-7)


def test_soft_is_zero_just_where_the_student_equals_the_teacher_up_to_a_constant(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    losses = soft_loss(monkeypatch, [[3.0, 1.0], [3.0, 1.0], [0.0, 5.0]], [[13.0, 11.0], [1.0, 3.0], [0.0, 4.0]], 2.0)
    assert losses[0].item() == pytest.approx(0, abs=1e-6)
    assert losses[1].item() > 0.1
    assert losses[2].item() > 0.001


def test_soft_reads_the_teacher_by_the_batchs_indices() -> None:
    prompt, lm = small.prompt(), small.lm()
    scores = prompt.score(lm, small.examples()).detach()
    assert soft(scores)(prompt, lm, batch(2, (5, 8))).abs().max().item() < 1e-6


def test_soft_wants_a_temperature_above_zero() -> None:
    with pytest.raises(SettingError, match=r"`temperature` is 0\.0"):
        soft(torch.zeros(1, 2), 0.0)


def test_the_key_of_soft_targets_is_that_of_their_values() -> None:
    assert soft(torch.ones(2, 2)).key() == soft(torch.ones(2, 2)).key()
    assert soft(torch.ones(2, 2)).key() != soft(torch.ones(2, 2), 1.0).key()
    assert soft(torch.ones(2, 2)).key() != soft(torch.zeros(2, 2)).key()


def test_an_examples_own_draws_do_not_depend_on_how_the_batch_is_split() -> None:
    whole, piece = batch(4), batch(4, (2, 3))
    draws = [torch.rand(3, generator=one).tolist() for one in (whole.own(2), piece.own(0), whole.own(3))]
    assert draws[0] == draws[1] != draws[2]


def test_nll_of_even_odds_is_the_log_of_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Prompt, "score", lambda self, lm, examples: torch.zeros(len(examples), 2).log_softmax(-1))
    assert nll(small.prompt(), small.lm(), batch(2)).tolist() == pytest.approx([math.log(2)] * 2)


def margins(monkeypatch: pytest.MonkeyPatch, mass: torch.Tensor) -> torch.Tensor:
    """Of examples whose right label is the first."""
    monkeypatch.setattr(Prompt, "mass", lambda self, lm, examples: mass)
    labels = tuple(f"label {at}" for at in range(mass.shape[1]))
    monkeypatch.setattr(Prompt, "labels", labels)
    examples = tuple(Example({"text": "a"}, labels[0], str(at)) for at in range(len(mass)))
    return margin(small.prompt(), small.lm(), Batch(examples, tuple(range(len(mass))), 0, generator(0)))


def test_margin_at_the_oracle(monkeypatch: pytest.MonkeyPatch) -> None:
    mass = torch.tensor([[-1.0, -1.5, -3.0], [-1.0, -1.5, -1.25]])
    assert margins(monkeypatch, mass).tolist() == pytest.approx([0.5, 0.5 + 0.75])


def test_margin_moves_nothing_where_every_wrong_label_is_beaten_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    mass = torch.tensor([[-1.0, -2.0, -3.5], [-1.0, -1.5, -3.5]], requires_grad=True)
    losses = margins(monkeypatch, mass)
    losses.sum().backward()
    assert losses.tolist() == pytest.approx([0.0, 0.5])
    assert mass.grad.tolist() == [[0.0, 0.0, 0.0], [-1.0, 1.0, 0.0]]


class Spied:
    """A model whose readings are watched."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.jobs: list[Job] = []
        real = LocalLM.read

        def read(lm: LocalLM, jobs: Sequence[Job]) -> list[Reading]:
            self.jobs += jobs
            return real(lm, jobs)

        monkeypatch.setattr(LocalLM, "read", read)


def asked(job: Job) -> Places:
    assert isinstance(job.asks[0], Places)
    return job.asks[0]


def test_masked_lm_asks_for_the_tokens_it_hid_and_for_nothing_but_text(monkeypatch: pytest.MonkeyPatch) -> None:
    prompt, lm, spied, hid = small.prompt(), small.lm(), Spied(monkeypatch), Counter[str]()
    plain = prompt.reader(lm).encode(prompt.lines(lm, small.examples(2))[0])
    for step in range(150):
        masked_lm(prompt, lm, replace(batch(2), step=step))
        for job, row in zip(spied.jobs, plain, strict=True):
            places = asked(job)
            free = {at for span in row.spans if span.kind in ("field", "text") for at in range(span.start, span.end)}
            assert len(places.positions) == max(1, round(0.15 * len(free)))
            assert set(places.positions) <= free
            assert places.ids == tuple(row.ids[at] for at in places.positions)
            assert all(job.row.ids[at] == one for at, one in enumerate(row.ids) if at not in places.positions)
            for at, was in zip(places.positions, places.ids, strict=True):
                now = job.row.ids[at]
                hid["mask" if now == lm.mask else "same" if now == was else "random"] += 1
        spied.jobs.clear()
    total = hid.total()
    assert hid["mask"] / total == pytest.approx(0.8, abs=0.07)
    assert hid["random"] / total == pytest.approx(0.1, abs=0.05)
    assert hid["same"] / total == pytest.approx(0.1, abs=0.05)


def test_masked_lm_is_minus_the_mean_log_probability_of_what_was_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    prompt, lm, spied = small.prompt(), small.lm(), Spied(monkeypatch)
    texts = (
        Example({"text": " ".join(["the dog ran over a hill"] * 5)}, None, "0"),
        Example({"text": "a cat"}, None, "1"),
    )
    losses = masked_lm(prompt, lm, Batch(texts, (0, 1), 0, generator(0)))
    for loss, job in zip(losses.tolist(), list(spied.jobs), strict=True):
        hidden = asked(job)
        slots = tuple(Slot("", (at,)) for at in hidden.positions)
        everything = lm.read([Job(replace(job.row, slots=slots), (Vocabulary(),), prompt.parts)])[0][0].values
        assert loss == pytest.approx(-everything[range(len(slots)), list(hidden.ids)].mean().item(), abs=1e-5)


def test_masked_lm_hides_the_same_however_a_batch_is_split_and_moves_the_parts() -> None:
    prompt, lm = small.prompt(), small.lm()
    whole, piece = (masked_lm(prompt, lm, one) for one in (batch(4), batch(4, (2, 3))))
    assert whole[2:].tolist() == pytest.approx(piece.tolist(), abs=1e-6)
    piece.sum().backward()
    assert prompt.parts["soft"].weight.grad.abs().sum() > 0


def test_masked_lm_needs_a_mask() -> None:
    with pytest.raises(NeedsError, match="`tiny-gpt2` has no mask to hide tokens behind"):
        masked_lm(small.prompt(), tiny("gpt2"), batch(1))


def test_masked_lm_of_nothing_but_marks_is_an_error() -> None:
    bare = replace(small.prompt(), template=Template.parse("{mask}"))
    with pytest.raises(DataError, match="an example has no tokens that could be hidden"):
        masked_lm(bare, small.lm(), batch(1))
