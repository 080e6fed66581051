"""Neighbours by the words that texts share."""

from dataclasses import replace
from math import log

import pytest
import torch

from promptatlas.data.example import Example
from promptatlas.demos.lexical import Lexical
from promptatlas.demos.nearest import Nearest
from promptatlas.errors import SettingError
from promptatlas.lm.scripted import ScriptedLM


def never(text: str) -> tuple[float]:
    if text:
        raise RuntimeError("embedded")
    return (0.0,)


LM = ScriptedLM(["a"], lambda text: {"a": 0.0}, embedding=never)  # states are never read
TEXTS = ("the cat sat", "the dog sat on the mat", "rain", "")
POOL = tuple(Example({"text": text}, "label", str(at)) for at, text in enumerate(TEXTS))


def names(demos: Nearest, text: str) -> str:
    return "".join(one.key for one in demos.pick(LM, [Example({"text": text})])[0])


def test_the_formula_by_hand() -> None:
    """Lucene's: idf = log(1 + (N - df + .5) / (df + .5)), tf / (tf + 1.5 (.25 + .75 length / mean length))."""
    mean = (3 + 6 + 1 + 0) / 4
    the, cat = log(1 + 2.5 / 2.5), log(1 + 3.5 / 1.5)

    def part(tf: int, length: int) -> float:
        return tf / (tf + 1.5 * (0.25 + 0.75 * length / mean))

    found = Lexical(TEXTS).scores("The CAT, the unknown")
    expected = [2 * the * part(1, 3) + cat * part(1, 3), 2 * the * part(2, 6), 0.0, 0.0]  # a word said twice asks twice
    assert found.tolist() == pytest.approx(expected, abs=1e-12)


def test_the_nearest_share_rare_words_and_ties_keep_the_pool_s_order() -> None:
    demos = Nearest.over(LM, POOL, k=4, metric="bm25")
    assert names(demos, "a dog on the street") == "1023"
    assert names(demos, "nothing of it") == names(demos, "!") == "0123"
    assert names(demos, "") == "012"  # which is the last one itself
    (found,) = demos.neighbours(LM, [Example({"text": "rain rain"})])
    assert found.indices[0] == 2
    assert found.similarities[0] > found.similarities[1] == 0
    assert demos.tensors() == {}


def test_a_character_of_a_script_without_blanks_is_a_word() -> None:
    pool = tuple(Example({"text": text}, "label", text) for text in ("天气很好", "猫在睡觉", "ねこ 42"))
    demos = Nearest.over(LM, pool, k=1, metric="bm25")
    for query, nearest in (
        ("我的猫", "猫在睡觉"),
        ("今天天气", "天气很好"),
        ("ねこです", "ねこ 42"),
        ("no. 42!", "ねこ 42"),
    ):
        assert names(demos, query) == nearest


def test_the_query_itself_and_what_repeats_are_left_out() -> None:
    demos = Nearest.over(LM, (*POOL, replace(POOL[0], key="again")), k=2, metric="bm25", dedupe=True)
    assert names(demos, "the cat") == "01"
    assert [one.key for one in demos.pick(LM, [POOL[0]])[0]] == ["1", "2"]


def test_texts_without_any_word_are_all_alike() -> None:
    assert torch.equal(Lexical(("", "?!")).scores("cat"), torch.zeros(2, dtype=torch.float64))
    assert torch.equal(Lexical(()).scores("cat"), torch.zeros(0, dtype=torch.float64))


def test_it_is_saved_without_its_index() -> None:
    demos = Nearest.over(LM, POOL, k=3, metric="bm25", order="nearest_last")
    again = Nearest.build(demos.config(), {})
    assert again.config() == demos.config()
    assert names(again, "a dog on the street") == names(demos, "a dog on the street") == "201"


def test_another_model_embeds_nothing_here() -> None:
    with pytest.raises(SettingError) as error:
        Nearest.over(LM, POOL, k=1, metric="bm25", by="pocket-masked")
    assert str(error.value) == (
        "`pocket-masked` embeds nothing under metric=bm25\n\nhint: leave the encoder or the metric out"
    )
