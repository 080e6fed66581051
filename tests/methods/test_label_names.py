"""Label names from end to end."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from promptatlas.data.example import Example
from promptatlas.data.task import Task
from promptatlas.errors import NeedsError, SettingError
from promptatlas.lm.scripted import ScriptedLM
from promptatlas.methods.label_names import LabelNames
from promptatlas.prompting import Prompt
from promptatlas.prompting.make import prompt
from promptatlas.score.words import Words
from promptatlas.testing.tasks import toy
from promptatlas.testing.tiny import tiny

VOCABULARY = ["sea", "land", "boat", "farm", "the", "x", "y", "It", "was"]
UNLABELED = tuple(Example({"text": text}) for text in ("x", "y", "x x", "y y"))
TASK = Task(name="places", kind="label", fields=("text",), labels=("Sea", "Land"), unlabeled=UNLABELED)


def answers(text: str) -> dict[str, float]:
    """The names tell a little, other words much; and `land` is said everywhere."""
    wet = "x" in text.split()
    return {"sea": 0.5 * wet, "land": 3.0, "boat": -4.0 + 3 * wet, "farm": -1.0 - 3 * wet, "the": 5.0}


def bare(template: str = "{text} It was {mask}") -> Prompt:
    return prompt(template, None, view=TASK.view)


def words_of(made: Prompt) -> dict[str, tuple[str, ...]]:
    assert isinstance(made.words, Words)
    return dict(made.words.words)


def test_words_are_found_by_what_the_names_predict() -> None:
    lm = ScriptedLM(VOCABULARY, answers)
    made = LabelNames(words=1).fit(lm, TASK, bare())
    assert words_of(made) == {"Sea": ("boat",), "Land": ("farm",)}
    assert [one.value for one in made.predict(lm, UNLABELED)] == ["Sea", "Land", "Sea", "Land"]
    assert str(made.history[-1].figures["words Sea"]).startswith("boat ")
    names = LabelNames(by="names", calibrate=False).fit(lm, TASK, bare())
    assert words_of(names) == {"Sea": ("sea",), "Land": ("land",)}
    assert {one.value for one in names.predict(lm, UNLABELED)} == {"Land"}
    again = LabelNames(by="names").fit(lm, TASK, bare())
    assert [one.value for one in again.predict(lm, UNLABELED)] == ["Sea", "Land", "Sea", "Land"]


@pytest.mark.parametrize("name", ["bert", "llama", "t5"])
@pytest.mark.parametrize("by", ["prediction", "vectors", "names"])
def test_no_label_is_looked_at(name: str, by: str) -> None:
    lm, task = tiny(name), replace(toy(), labels=("good", "bad"), words=None, train=(), dev=(), test=())
    made = LabelNames(by=by, words=2).fit(lm, task, bare())  # type: ignore[arg-type]
    assert made.labels == ("good", "bad")
    scores = made.score(lm, task.unlabeled)
    torch.testing.assert_close(scores.exp().mean(0), torch.full((2,), 0.5), atol=1e-3, rtol=0)
    if by == "vectors":
        assert words_of(made)["good"][0] == "good"


def test_chinese(tmp_path: Path) -> None:
    (tmp_path / "lexicon.txt").write_text("很好：好、棒\n太差：差、脏\n", "utf-8")
    texts = tuple(Example({"text": one}) for one in ("电影很好看", "房间很脏", "服务很棒"))
    task = Task(name="zh", kind="label", fields=("text",), labels=("很好", "太差"), unlabeled=texts)
    start = bare("{text}很{mask}")
    found = words_of(LabelNames(words=2).fit(tiny("bert"), task, start))
    assert [len(some) for some in found.values()] == [2, 2]
    listed = LabelNames(by="lexicon", lexicon=str(tmp_path / "lexicon.txt")).fit(tiny("bert"), task, start)
    assert words_of(listed) == {"很好": ("好", "棒"), "太差": ("差", "脏")}


def test_says_what_is_missing() -> None:
    lm = ScriptedLM(VOCABULARY, answers)
    with pytest.raises(NeedsError) as caught:
        LabelNames().fit(lm, replace(TASK, unlabeled=()), bare())
    assert str(caught.value) == (
        "`label_names` needs texts without labels, and `places` has none\n\n"
        'hint: give unlabeled examples, or set by="vectors" and calibrate=false'
    )
    with pytest.raises(SettingError, match="`by` is `lexicon`, and there is none"):
        LabelNames(by="lexicon").fit(lm, TASK, bare())
