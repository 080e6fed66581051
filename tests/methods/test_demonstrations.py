"""Methods that choose demonstrations: neighbours, neighbours that differ, examples worth a label."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from promptatlas.artifact.load import load as load_prompt
from promptatlas.artifact.save import save
from promptatlas.data.example import Example
from promptatlas.data.task import Task
from promptatlas.demos.nearest import Nearest
from promptatlas.demos.pick import Fixed
from promptatlas.demos.votes import vote_k
from promptatlas.errors import NeedsError, SettingError
from promptatlas.lm.lm import LM
from promptatlas.lm.load import load
from promptatlas.lm.scripted import ScriptedLM
from promptatlas.methods.contextual_calibration import ContextualCalibration
from promptatlas.methods.kate import KATE
from promptatlas.methods.max_marginal_relevance import MaxMarginalRelevance
from promptatlas.methods.vote_k import VoteK
from promptatlas.prompting import Prompt
from promptatlas.prompting.make import prompt
from promptatlas.testing.tasks import toy, toy_prompt
from promptatlas.testing.tiny import tiny

TASK = toy()
ENCODER = "pocket-masked"
CHINESE = Task(
    name="天气",
    kind="label",
    fields=("text",),
    labels=("pets", "weather"),
    train=(
        Example({"text": "小猫在睡觉"}, "pets", "1"),
        Example({"text": "天气非常好"}, "weather", "2"),
        Example({"text": "小狗跑得快"}, "pets", "3"),
        Example({"text": "明天有大雨"}, "weather", "4"),
    ),
)


def picked(prompt: Prompt, lm: LM, *examples: Example) -> list[list[str]]:
    return [[one.key for one in some] for some in prompt.demos.pick(lm, examples)]


def saved(prompt: Prompt, folder: Path) -> Prompt:
    save(prompt, folder)
    again = load_prompt(folder)
    assert isinstance(again, Prompt)
    return again


def test_another_model_finds_the_neighbours_and_a_saved_prompt_needs_it_again(tmp_path: Path) -> None:
    lm, encoder = tiny("gpt2"), load(ENCODER, "cpu")
    made = KATE(k=3, encoder=ENCODER).fit(lm, TASK, toy_prompt())
    vectors = encoder.embed([str(one.fields["text"]) for one in (*TASK.test[:4], *TASK.train)])
    cosines = (vectors[:4] @ vectors[4:].T).round(decimals=6)
    for keys, row in zip(picked(made, lm, *TASK.test[:4]), cosines, strict=True):
        assert row[[int(key.split()[1]) for key in keys]].tolist() == row.topk(3).values.tolist()
    assert made.demos.config()["encoder"] == {"name": ENCODER, **encoder.identity}
    again = saved(made, tmp_path / "made")
    assert again.demos.config()["encoder"]["name"] == ENCODER
    torch.testing.assert_close(again.score(lm, TASK.test[:4]), made.score(lm, TASK.test[:4]))
    assert picked(made, lm, *TASK.test) != picked(KATE(k=3).fit(lm, TASK, toy_prompt()), lm, *TASK.test)


def test_an_encoder_that_is_another_by_now_is_named() -> None:
    lm, encoder = tiny("gpt2"), load(ENCODER, "cpu")
    demos = KATE(k=1, encoder=ENCODER).fit(lm, TASK, toy_prompt()).demos
    assert isinstance(demos, Nearest)
    other = replace(demos, encoder={**demos.encoder, "weights": "0123"})
    with pytest.raises(NeedsError) as caught:
        other.pick(lm, TASK.test[:1])
    assert str(caught.value) == (
        "the pool of demonstrations was embedded by `pocket-masked`, with weights 0123, and the `pocket-masked` that "
        f"is here has other weights: {encoder.identity['weights']}\n\n"
        "hint: put the same model there, or embed the pool again with this `pocket-masked`"
    )
    gone = replace(demos, encoder={**demos.encoder, "name": "nowhere/at-all"})
    with pytest.raises(
        NeedsError, match=r"embedded by `nowhere/at-all`, with weights .*, which can't be loaded: there"
    ):
        gone.pick(lm, TASK.test[:1])


def test_the_model_itself_as_encoder_is_not_loaded_again() -> None:
    lm = load(ENCODER, "cpu")
    lm.name = "under another name"
    demos = replace(KATE(k=2).fit(lm, TASK, toy_prompt()).demos, apart=True)  # type: ignore[type-var]
    assert picked(replace(toy_prompt(), demos=demos), lm, TASK.test[0]) == picked(
        KATE(k=2).fit(lm, TASK, toy_prompt()), lm, TASK.test[0]
    )


@pytest.mark.parametrize("family", ["bert", "gpt2", "t5"])
def test_shared_words_find_neighbours_for_every_kind_of_model(family: str, tmp_path: Path) -> None:
    lm = tiny(family)
    made = KATE(k=2, metric="bm25").fit(lm, TASK, toy_prompt())
    query = Example({"text": "a cat, the cat"})
    assert all("cat" in str(one.fields["text"]) for one in made.demos.pick(lm, [query])[0])
    again = saved(made, tmp_path / "made")
    assert again == made
    torch.testing.assert_close(again.score(lm, TASK.test[:4]), made.score(lm, TASK.test[:4]))


def test_chinese_texts_share_characters() -> None:
    lm = tiny("gpt2")
    start = prompt("{text} 是{mask}", {"pets": "good", "weather": "bad"})
    made = KATE(k=1, metric="bm25").fit(lm, CHINESE, start)
    queries = [Example({"text": text}) for text in ("一只猫。", "明天怎么样？", "狗", "天气")]
    assert picked(made, lm, *queries) == [["1"], ["4"], ["3"], ["2"]]


def test_words_need_no_states() -> None:
    lm = ScriptedLM(["cat", "good", "bad"], lambda text: {"good": 0.0, "bad": 0.0})
    lm.can = frozenset({"logits"})
    with pytest.raises(NeedsError, match="`kate` needs a model that can do `hidden`"):
        KATE(k=2).fit(lm, TASK, toy_prompt())
    assert KATE(k=2, metric="bm25").fit(lm, TASK, toy_prompt()).predict(lm, ["cat"])
    with pytest.raises(SettingError, match="`pocket-masked` embeds nothing under metric=bm25"):
        KATE(metric="bm25", encoder=ENCODER).fit(lm, TASK, toy_prompt())


def test_neighbours_of_every_label_in_turns() -> None:
    lm = tiny("gpt2")
    plain, even = (KATE(k=32, balanced=one).fit(lm, TASK, toy_prompt()) for one in (False, True))
    assert picked(plain, lm, *TASK.test) == picked(even, lm, *TASK.test)  # all are all
    four = KATE(k=4, balanced=True).fit(lm, TASK, toy_prompt())
    for whole, some in zip(plain.demos.pick(lm, TASK.test), four.demos.pick(lm, TASK.test), strict=True):
        by_label = {label: [one for one in whole if one.target == label][:2] for label in TASK.labels}
        assert some == [one for one in whole if one in by_label[str(one.target)]]


def test_calibration_under_each_input_s_own_neighbours_by_words() -> None:
    lm, query = tiny("gpt2"), TASK.test[0]
    kate = KATE(k=2, metric="bm25").fit(lm, TASK, toy_prompt())
    with pytest.raises(NeedsError, match="needs the same demonstrations for all inputs"):
        ContextualCalibration().fit(lm, TASK, kate)
    each = ContextualCalibration(blanks=("N/A",), each=True).fit(lm, TASK, kate)
    fixed = replace(kate, demos=Fixed(tuple(kate.demos.pick(lm, [query])[0])))
    by_hand = ContextualCalibration(blanks=("N/A",)).fit(lm, TASK, fixed)
    torch.testing.assert_close(each.score(lm, TASK.test[:4])[:1], by_hand.score(lm, [query]), atol=1e-5, rtol=1e-5)


def test_neighbours_that_differ_begin_with_the_nearest() -> None:
    lm = tiny("gpt2")
    kate, near = KATE(k=3).fit(lm, TASK, toy_prompt()), MaxMarginalRelevance(k=3, relevance=1.0)
    assert picked(near.fit(lm, TASK, toy_prompt()), lm, *TASK.test) == picked(kate, lm, *TASK.test)
    far = MaxMarginalRelevance(k=3, relevance=0.3).fit(lm, TASK, toy_prompt())
    for some, others in zip(picked(far, lm, *TASK.test), picked(kate, lm, *TASK.test), strict=True):
        assert some[0] == others[0]
    assert picked(far, lm, *TASK.test) != picked(kate, lm, *TASK.test)


def test_chosen_by_votes_and_not_by_labels() -> None:
    lm = tiny("gpt2")
    made = VoteK(labels=6, k=2, near=5).fit(lm, TASK, toy_prompt())
    vectors = lm.embed([str(one.fields["text"]) for one in TASK.train])
    chosen = vote_k(vectors, 6, near=5)
    assert made.history[-1].figures["chosen"] == " ".join(str(at + 1) for at in chosen)
    assert isinstance(made.demos, Nearest)
    assert made.demos.pool == tuple(TASK.train[at] for at in chosen)
    turned = {"pets": "weather", "weather": "pets"}
    other = replace(TASK, train=tuple(replace(one, target=turned[str(one.target)]) for one in TASK.train))
    again = VoteK(labels=6, k=2, near=5).fit(lm, other, toy_prompt())
    assert again.history[-1].figures["chosen"] == made.history[-1].figures["chosen"]


def test_the_nearest_of_the_chosen_stand_next_to_the_input_and_the_first_are_the_same_to_all() -> None:
    lm = tiny("gpt2")
    nearest = VoteK(labels=6, k=3).fit(lm, TASK, toy_prompt())
    pool = replace(TASK, train=nearest.demos.pool)  # type: ignore[attr-defined]
    assert picked(nearest, lm, *TASK.test) == picked(
        KATE(k=3, order="nearest_last").fit(lm, pool, toy_prompt()), lm, *TASK.test
    )
    first = VoteK(labels=6, k=3, shown="first").fit(lm, TASK, toy_prompt())
    assert first.demos == Fixed(nearest.demos.pool[:3])  # type: ignore[attr-defined]
    assert ContextualCalibration().fit(lm, TASK, first).calibration
    with pytest.raises(SettingError, match="k=4 demonstrations are wanted, and the pool holds 2"):
        VoteK(labels=2, k=4).fit(lm, TASK, toy_prompt())


@pytest.mark.parametrize("method", [MaxMarginalRelevance(k=2, encoder=ENCODER), VoteK(labels=6, k=2, encoder=ENCODER)])
def test_another_model_may_embed_for_them_too(
    method: MaxMarginalRelevance | VoteK, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = tiny("gpt2")
    monkeypatch.setattr(lm, "can", lm.can - {"hidden"})
    made = method.fit(lm, TASK, toy_prompt())
    again = saved(made, tmp_path / "made")
    assert picked(again, lm, *TASK.test) == picked(made, lm, *TASK.test)
    torch.testing.assert_close(again.score(lm, TASK.test[:4]), made.score(lm, TASK.test[:4]))


@pytest.mark.parametrize("method", [KATE(k=2), MaxMarginalRelevance(k=2), VoteK(labels=6, k=2)])
def test_how_many_fit_is_noted(method: KATE | MaxMarginalRelevance | VoteK) -> None:
    figures = method.fit(tiny("gpt2"), TASK, toy_prompt()).history[-1].figures
    assert {name: figures[name] for name in ("shown", "fewest", "looked")} == {"shown": 2, "fewest": 2, "looked": 8}
