"""Teachers and their student: the sheet's numbers, and what has to hold for every teacher."""

import gc
import weakref
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from promptatlas.errors import NeedsError, SettingError, TemplateError, WordError
from promptatlas.lm.ask import Query
from promptatlas.parts.head import head
from promptatlas.prompting.make import prompt
from promptatlas.score.soft import Classifier
from promptatlas.testing.tasks import toy, toy_prompt
from promptatlas.testing.tiny import tiny
from promptatlas.train import distil
from promptatlas.train.distil import Lessons, agreement, auxiliary, merged, pool, student, teachers
from promptatlas.train.loss import Batch, soft
from promptatlas.train.optim import Optim
from promptatlas.train.run import Run

TASK = toy()
TEXTS = tuple(replace(one, target=None) for one in TASK.test[:6])


def staff(*patterns: str, uniform: bool = False, repeats: int = 1) -> list[distil.Teacher]:
    return teachers(
        toy_prompt(), tiny("bert"), TASK, patterns, (), several="confident", uniform=uniform, repeats=repeats
    )


def lessons(run: Run | None = None, **changed: object) -> Lessons:
    settings = {"alpha": 1e-4, "steps": 2, "batch": 2, "unlabeled_batch": 2, **changed}
    return Lessons(lm=tiny("bert"), texts=TEXTS, optim=Optim(lr=1e-3), run=run or Run(), **settings)


def test_scores_are_merged_by_weight_and_softened():
    target = merged([torch.tensor([[1.0, 3.0]]), torch.tensor([[2.0, 0.0]])], [0.5, 0.75])
    torch.testing.assert_close(target, torch.tensor([[1.6, 1.2]]))
    torch.testing.assert_close((target / 2).softmax(-1), torch.tensor([[0.549834, 0.450166]]), atol=1e-6, rtol=0)


def test_a_student_without_an_opinion_loses_what_the_sheet_says():
    lm = tiny("bert")
    even = replace(toy_prompt().plus(head=head(lm, 2, seed=0, scale=0.0)), words=Classifier(labels=TASK.labels))
    batch = Batch(TEXTS[:1], (0,), 0, torch.Generator(), 0)
    found = soft(torch.tensor([[1.6, 1.2]]), 2.0)(even, lm, batch)
    assert found.item() == pytest.approx(0.0199004, abs=1e-6)


def test_alike_weights_are_the_mean():
    some = [torch.randn(4, 3, generator=torch.Generator().manual_seed(at)) for at in range(3)]
    torch.testing.assert_close(merged(some, [0.3, 0.3, 0.3]), torch.stack(some).mean(0))


def test_a_word_a_label_is_a_softmax_over_these_words_alone():
    lm, start = tiny("bert"), prompt("{text} It was {mask}.", {"bad": "bad", "good": "good"})
    (query,) = start.words.queries(lm, start.template, TASK.test[0])
    assert isinstance(query, Query)
    fold = start.words.fold
    reading = lm.read(start.reader(lm).wanted(start.lines(lm, TASK.test[:1])[0], mass=False)[0].jobs)
    values = reading[0][0].values
    given = reading[0][0]._replace(values=torch.tensor([[1.0, 3.0]]).expand_as(values))
    mass = fold([[(given,)]], lm, start.template, {})
    torch.testing.assert_close(mass.softmax(-1), torch.tensor([[0.119203, 0.880797]]), atol=1e-6, rtol=0)


def test_a_teacher_counts_by_its_accuracy_before_training():
    lm = tiny("bert")
    found = staff("Just {mask} ! {text}")
    for one in found:
        told = one.prompt.predict(lm, TASK.train)
        right = sum(answer.value == example.target for answer, example in zip(told, TASK.train, strict=True))
        assert one.weight == right / len(TASK.train)
    assert [one.weight for one in staff("Just {mask} ! {text}", uniform=True, repeats=2)] == [1.0] * 4


def test_patterns_that_are_never_right_count_alike():
    wrong = tuple(replace(one, target=_other(one.target)) for one in TASK.train)
    lm, start = tiny("bert"), toy_prompt()
    told = [one.value for one in start.predict(lm, wrong)]
    never = tuple(replace(one, target=_other(value)) for one, value in zip(wrong, told, strict=True))
    task = replace(TASK, train=never)
    found = teachers(start, lm, task, (), (), several="confident", uniform=False, repeats=1)
    assert [one.weight for one in found] == [1.0]


def test_one_teacher_is_let_go_before_the_next_is_made(monkeypatch: pytest.MonkeyPatch):
    alive: list[weakref.ref[object]] = []

    def full(lm: object) -> object:
        gc.collect()
        assert not any(one() is not None for one in alive), "the weights of a teacher before are still held"
        made = real(lm)
        alive.append(weakref.ref(made))
        return made

    real = distil.full
    monkeypatch.setattr(distil, "full", full)
    given = lessons()
    for at, one in enumerate(staff("Just {mask} ! {text}", repeats=2)):
        given.opinion(f"teacher-{at}", one.prompt, TASK.train, at)
    assert len(alive) == 4


def test_an_opinion_is_kept_and_not_made_again(tmp_path: Path):
    one = staff()[0].prompt
    first = lessons(Run(tmp_path)).opinion("teacher-0", one, TASK.train, 0)
    again = lessons(Run(tmp_path), steps=50).opinion("teacher-0", one, TASK.train, 0)  # would differ, were it made
    assert torch.equal(first, again)
    assert first.shape == (6, 2)
    torch.testing.assert_close(first.exp().sum(-1), torch.ones(6))


def test_the_masked_lm_loss_moves_a_teacher():
    one = staff()[0].prompt
    plain = lessons(alpha=0.0).opinion("a", one, TASK.train, 0)
    assert not torch.equal(plain, lessons(alpha=0.5).opinion("b", one, TASK.train, 0))


def test_a_student_comes_closer_to_what_it_is_taught():
    lm, given = tiny("bert"), lessons(batch=6)
    target = torch.tensor([[2.0, -2.0]] * 3 + [[-2.0, 2.0]] * 3)

    def loss(steps: int) -> float:
        learned = student(staff(), given, target, temperature=2.0, steps=steps, batch=6, head_lr=1e-2, seed=0)
        assert set(learned.parts) == {"weights", "head"}
        return soft(target, 2.0)(learned, lm, Batch(TEXTS, tuple(range(6)), 0, torch.Generator(), 0)).mean().item()

    assert loss(40) < 0.5 * loss(1)


def test_agreement_is_the_share_of_texts_a_teacher_and_all_find_the_same():
    ones, others = torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    assert agreement([ones, others], ones) == 0.75


def test_the_pool_is_drawn_by_its_seed():
    task = replace(TASK, unlabeled=TEXTS)
    assert pool(task, None, 0) == TEXTS
    assert len(pool(task, 3, 0)) == 3
    assert pool(task, 3, 0) == pool(task, 3, 0)
    assert len({pool(task, 3, seed)[0].key for seed in range(8)}) > 1
    with pytest.raises(SettingError, match="`most_unlabeled` is 0"):
        pool(task, 0, 0)


def test_the_weight_of_the_masked_lm_loss_is_only_told_where_it_can_be():
    assert auxiliary(None, tiny("bert"), TEXTS) == 1e-4
    assert auxiliary(None, tiny("bert"), ()) == 0
    assert auxiliary(None, tiny("gpt2"), TEXTS) == 0
    with pytest.raises(NeedsError, match="the masked-LM loss can't be had"):
        auxiliary(0.1, tiny("gpt2"), TEXTS)
    with pytest.raises(SettingError, match="`alpha` is 1"):
        auxiliary(1.0, tiny("bert"), TEXTS)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("{text} is fine", "the pattern `{text} is fine` has 0 slots, not one"),
        ("{mask:a} {text} {mask:b}", "the pattern `{mask:a} {text} {mask:b}` has 2 slots, not one"),
    ],
)
def test_a_pattern_has_one_slot(pattern: str, message: str):
    with pytest.raises(TemplateError) as raised:
        staff(pattern)
    assert raised.value.message == message


def test_a_pattern_shows_fields_there_are():
    with pytest.raises(TemplateError, match="has no field `txt`"):
        staff("{txt} {mask}")


def test_words_of_two_labels_differ():
    same = dict.fromkeys(TASK.labels, "good")
    with pytest.raises(WordError, match="labels `pets` and `weather` share the word `good`"):
        teachers(toy_prompt(), tiny("bert"), TASK, (), (same,), several="confident", uniform=True, repeats=1)


def test_words_are_for_all_labels():
    with pytest.raises(SettingError, match="`weather` is in one of them only"):
        teachers(toy_prompt(), tiny("bert"), TASK, (), ({"pets": "cat"},), several="confident", uniform=True, repeats=1)


def _other(label: object) -> str:
    return next(one for one in TASK.labels if one != label)
