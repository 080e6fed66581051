from collections import Counter
from dataclasses import replace

import pytest
import torch

from promptatlas.artifact.load import load
from promptatlas.artifact.save import save
from promptatlas.data.example import Example
from promptatlas.demos.sampled import Sampled
from promptatlas.errors import DataError, SettingError
from promptatlas.lm.scripted import ScriptedLM
from promptatlas.prompting.prompt import scored
from promptatlas.testing.tasks import toy, toy_prompt
from promptatlas.testing.tiny import tiny

LABELS = ("odd", "even", "none")  # not the order of the pool
TURNS = {f"text {at}": (1.0, at / 100) for at in range(48)}
POOL = tuple(Example({"text": text}, ("even", "odd", "none")[at % 3], f"p{at}") for at, text in enumerate(TURNS))
LM = ScriptedLM(["a"], lambda text: {"a": 0.0}, embedding=lambda text: TURNS.get(text, (1.0, 0.0)))
QUERY = Example({"text": "text 0"}, None, "q")  # as like p0 as can be, but not p0: it has another key


def reached(demos: Sampled, query: Example = QUERY, draws: int = 200) -> dict[str, set[str]]:
    """Label -> keys of those that are ever shown."""
    found: dict[str, set[str]] = {}
    for draw in range(draws):
        for one in demos.pick(LM, [query], draw=draw)[0]:
            found.setdefault(str(one.target), set()).add(one.key)
    return found


def test_one_a_label_in_the_labels_order_and_never_the_query() -> None:
    demos = Sampled.over(LM, POOL, LABELS)
    for some, query in zip(demos.pick(LM, POOL), POOL, strict=True):
        assert [one.target for one in some] == list(LABELS)
        assert query not in some


def test_only_the_most_like_are_drawn_all_of_them_alike() -> None:
    """48 of 3 labels: int(48 // 3 / 2) = 8 of each; without the query int(47 // 3 / 2) = 7."""
    demos = Sampled.over(LM, POOL, LABELS)
    assert reached(demos) == {
        "even": {f"p{at}" for at in range(0, 24, 3)},
        "odd": {f"p{at}" for at in range(1, 24, 3)},
        "none": {f"p{at}" for at in range(2, 24, 3)},
    }
    assert [len(some) for some in reached(demos, POOL[0]).values()] == [7, 7, 7]
    counts = Counter(demos.pick(LM, [QUERY], draw=draw)[0][0].key for draw in range(800))
    assert max(counts.values()) < 2 * min(counts.values())


def test_a_share_of_one_draws_from_all_and_a_small_one_from_the_nearest() -> None:
    everything = reached(Sampled.over(LM, POOL, LABELS, share=1.0), draws=400)
    assert [len(some) for some in everything.values()] == [16, 16, 16]
    nearest = reached(Sampled.over(LM, POOL, LABELS, share=0.01))
    assert nearest == {"even": {"p0"}, "odd": {"p1"}, "none": {"p2"}}


def test_seed_draw_and_query_decide_and_not_the_company() -> None:
    demos = Sampled.over(LM, POOL, LABELS, seed=4)
    again = Sampled.over(LM, POOL, LABELS, seed=4)
    assert demos.pick(LM, POOL) == again.pick(LM, POOL[::-1])[::-1]
    assert demos.pick(LM, POOL, draw=3) == demos.again(3).pick(LM, POOL)
    assert demos.pick(LM, POOL) != demos.pick(LM, POOL, draw=1)
    assert demos.pick(LM, POOL) != Sampled.over(LM, POOL, LABELS, seed=5).pick(LM, POOL)


def test_a_query_is_embedded_once() -> None:
    asked: list[str] = []

    def embedding(text: str) -> tuple[float, ...]:
        asked.append(text)
        return TURNS.get(text, (1.0, 0.0))

    lm = ScriptedLM(["a"], lambda text: {"a": 0.0}, embedding=embedding)
    demos = Sampled.over(lm, POOL, LABELS)
    asked.clear()
    for draw in range(5):
        demos.again(draw).pick(lm, [QUERY, POOL[1]])
    assert sorted(asked) == ["text 0", "text 1"]


def test_what_cannot_be_shown() -> None:
    with pytest.raises(SettingError, match="no example of the pool has the label `green`"):
        Sampled.over(LM, POOL, ("odd", "green"))
    with pytest.raises(SettingError, match=r"demonstrations of share=0\.0, draws=1"):
        Sampled.over(LM, POOL, LABELS, share=0.0)
    alone = Sampled.over(LM, POOL[:2], ("odd", "even"))
    assert len(alone.pick(LM, [QUERY])[0]) == 2
    with pytest.raises(DataError, match="label `even` has no example to show but the one that is asked about"):
        alone.pick(LM, [POOL[0]])


def test_draws_are_averaged() -> None:
    """Scores are the mean over draws of the log-probabilities; with equal draws that of one; saved, they stay."""
    lm, task = tiny("bert"), toy()
    demos = Sampled.over(lm, task.train, task.labels, draws=3)
    three = replace(toy_prompt(), demos=demos)
    each = scored(lm, [replace(three, demos=demos.again(draw)) for draw in range(3)], task.test)
    assert not torch.equal(each[0], each[1])
    torch.testing.assert_close(three.score(lm, task.test), torch.stack(each).mean(0).log_softmax(-1))
    values = [three.labels[at] for at in three.score(lm, task.test).argmax(1).tolist()]
    assert values == [one.value for one in three.predict(lm, task.test)]
    torch.testing.assert_close(three.score(lm, task.test[3:5]), three.score(lm, task.test)[3:5])
    pair = [task.train[0], task.train[1]]
    same = [replace(toy_prompt(), demos=Sampled.over(lm, pair, task.labels, draws=n)) for n in (1, 4)]
    torch.testing.assert_close(same[0].score(lm, task.test), same[1].score(lm, task.test))


def test_the_mass_of_draws_is_a_mean_of_probabilities() -> None:
    lm, task = tiny("llama"), toy()
    demos = Sampled.over(lm, task.train, task.labels, draws=3)
    each = [replace(toy_prompt(), demos=demos.again(draw)).mass(lm, task.test).exp() for draw in range(3)]
    found = replace(toy_prompt(), demos=demos).mass(lm, task.test).exp()
    torch.testing.assert_close(found, torch.stack(each).mean(0))


def test_saved_and_loaded(tmp_path) -> None:  # type: ignore[no-untyped-def]
    lm, task = tiny("bert"), toy()
    prompt = replace(toy_prompt(), demos=Sampled.over(lm, task.train, task.labels, draws=2, seed=3))
    loaded = load(save(prompt, tmp_path / "saved"))
    assert loaded == prompt
    torch.testing.assert_close(loaded.score(lm, task.test), prompt.score(lm, task.test))
