"""Templates that are written."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from promptatlas.data.example import Example
from promptatlas.errors import DataError, NeedsError, SettingError
from promptatlas.lm.ask import Job, Read, Vocabulary
from promptatlas.lm.row import Row, Slot
from promptatlas.prompting.make import prompt
from promptatlas.search.around import filled, layouts
from promptatlas.search.propose import template_choices
from promptatlas.search.write import Beam, _Pen, _rows, sentinels, written
from promptatlas.testing.tasks import toy, toy_prompt
from promptatlas.testing.tiny import tiny
from promptatlas.text.template import Template

T5 = tiny("t5")
EXAMPLES = toy().train[:3]
WORDS = ["good", "bad", "good"]
BEHIND, BEFORE = layouts(["text"], ["good"])


def test_layouts_of_other_scripts_and_what_is_made_of_them() -> None:
    (chinese, turned) = layouts(["text"], ["好", "差"])
    assert str(chinese) == "{text|capital}{mask}{label}{@rest}"
    assert str(filled(chinese, ("这很", "。"))) == "{text}这很{mask}。"
    assert str(filled(turned, ("很", "："))) == "很{mask}：{text}"
    three = layouts(["a", "b", "c"], ["yes"])
    assert [str(one) for one in three] == ["{a|unstop}{mask} {label}{@rest} {b|uncapital} {c|uncapital}"]
    assert str(filled(three[0], ("?", ","))) == "{a|unstop}? {mask}, {b|uncapital} {c|uncapital}"
    assert str(filled(layouts(["a"], ["yes"], tail=False)[0], (" So",))) == "{a} So {mask}"


def test_braces_that_are_written_are_text() -> None:
    made = filled(BEHIND, (" {text} {", "}}"))
    assert Template.parse(str(made)) == made
    assert made.fields == ("text",)


def test_what_the_generator_sees() -> None:
    """Sentence, first sentinel, word, second sentinel, end; a long text is cut where it is far from what is written."""
    first, second, _ = sentinels(T5)
    row = _rows(T5, EXAMPLES[:1], ["good"], BEHIND, (first, second, second))[0]
    text = T5.tokens(str(EXAMPLES[0].fields["text"]).capitalize())
    assert row.ids == (*text, first, *T5.tokens("good"), second, T5.tokenizer.end[0])
    assert row.feed == (0, first)
    long = Example({"text": "old " * 200 + "cat " * 200 + "dog"})
    ahead, behind = (_rows(T5, [long], ["good"], one, (first, second, second))[0] for one in (BEHIND, BEFORE))
    said = [T5.text([at for at in one.ids if at not in T5.special]) for one in (ahead, behind)]
    assert "dog good" in said[0]
    assert "old" not in said[0]
    assert "cat" not in said[1]
    assert not ahead.cut()
    assert not behind.cut()


def logits(ids: tuple[int, ...], fed: tuple[int, ...]) -> torch.Tensor:
    """The tiny model's own, without anything of ours but its frozen weights."""
    (reading,) = T5.read([Job(_row(ids, fed), (Vocabulary(),))])
    return reading[0].values[0]


def _row(ids: tuple[int, ...], fed: tuple[int, ...]) -> Row:
    row = next(one for one in _rows(T5, EXAMPLES, WORDS, BEHIND, sentinels(T5)) if one.ids == ids)
    return replace(row, feed=fed, slots=(Slot("", (len(fed) - 1,)),))


def test_one_tree_reads_what_longer_rows_do() -> None:
    """Behind each of several beginnings, at once, what a decoder says that was fed them one by one."""
    row = _rows(T5, EXAMPLES, WORDS, BEHIND, sentinels(T5))[0]
    some = [(), (20,), (20, 21), (30, 21, 22)]
    jobs = [Job(row.then((*ids, 7)), (Vocabulary(last=True),)) for ids in some]
    with torch.no_grad():
        for ids, reading in zip(some, T5.read(jobs), strict=True):
            torch.testing.assert_close(reading[0].values[0], logits(row.ids, row.feed + ids), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("beams", [1, 4])
def test_beam_search_by_hand(beams: int) -> None:
    """Step by step over the mean log-probability, every beam and example on its own."""
    rows = _rows(T5, EXAMPLES, WORDS, BEHIND, sentinels(T5))
    pen = _Pen(T5, rows, sentinels(T5), 2, "logprob")
    close = (sentinels(T5)[1], T5.tokenizer.end[0])
    alive: list[tuple[tuple[int, ...], int, float]] = [((), 0, 0.0)]
    with torch.no_grad():
        for _ in range(5):
            grown = []
            for ids, closed, score in alive:
                if closed == 2:
                    grown.append((ids, closed, score))
                    continue
                mean = torch.stack([logits(row.ids, row.feed + ids) for row in rows]).mean(0)
                barred = pen._barred(Beam(ids, closed)).tolist()
                for token in range(len(mean)):
                    if token not in barred:
                        ends = 2 if token == close[1] else closed + (token == close[0])
                        grown.append(((*ids, token), ends, score + float(mean[token])))
            alive = sorted(grown, key=lambda one: -one[2])[:beams]
    done = [one for one in alive if one[1] == 2] or alive
    texts = [filled(BEHIND, pen.texts(Beam(*one))) for one in done]
    found = written(T5, EXAMPLES, WORDS, BEHIND, beams=beams, steps=5)
    assert [one.template for one in found] == list(dict.fromkeys(texts))
    assert found[0].score == pytest.approx(done[0][2], abs=1e-3)


def test_an_example_twice_changes_nothing() -> None:
    once = written(T5, EXAMPLES[:1], WORDS[:1], BEHIND, beams=3, steps=4)
    twice = written(T5, EXAMPLES[:1] * 2, WORDS[:1] * 2, BEHIND, beams=3, steps=4)
    assert [one.template for one in once] == [one.template for one in twice]
    assert [one.score for one in once] == pytest.approx([one.score for one in twice], abs=1e-4)


def test_the_two_means_by_hand() -> None:
    """Logits [2, 0, 0] and [0, 1, 0]: both rank alike, and differ by what is the same for all tokens."""
    said = iter(torch.tensor([[2.0, 0, 0], [0, 1, 0]]).log_softmax(-1).repeat(2, 1))

    def read(jobs: list[Any]) -> list[tuple[Read]]:
        return [(Read(next(said)[None]),) for _ in jobs]

    lm = SimpleNamespace(outputs=torch.zeros(3, 1), device=torch.device("cpu"), read=read)
    rows: Any = [SimpleNamespace(then=lambda ids: None)] * 2
    for aggregate, wanted in (
        ("logprob", [-0.895495, -1.395495, -1.895495]),
        ("logit", [-0.680270, -1.180270, -1.680270]),
    ):
        pen = object.__new__(_Pen)
        for name, value in {"lm": lm, "rows": rows, "marks": (0, 1, 2), "aggregate": aggregate}.items():
            object.__setattr__(pen, name, value)
        job = pytest.MonkeyPatch()
        job.setattr("promptatlas.search.write.Job", lambda row, asks: None)
        (found,) = pen._means([Beam()])
        job.undo()
        assert found.tolist() == pytest.approx(wanted, abs=1e-6)


def test_what_must_not_be_written() -> None:
    pen = _Pen(T5, _rows(T5, EXAMPLES, WORDS, BEHIND, sentinels(T5)), sentinels(T5), 2, "logprob")
    (dot,) = {at for at in pen._stops if T5.pieces([at]) == ["▁."]}
    first = set(pen._barred(Beam()).tolist())
    assert dot not in first
    assert set(pen._barred(Beam((dot,))).tolist()) >= {dot}
    second, end = sentinels(T5)[1], T5.tokenizer.end[0]
    assert first >= T5.special - {second, end}
    assert not first & {second, end}
    assert all(not T5.text([at]).strip() for at in pen._empty)


@pytest.mark.parametrize("family", ["bert", "llama", "t5"])
def test_templates_that_the_model_can_read(family: str) -> None:
    lm, task = tiny(family), toy(train=4)
    found = template_choices(toy_prompt(), lm, T5, task.train, beams=6)
    assert len(found) == len(set(found)) >= 2
    for text in found:
        made = prompt(text, {"pets": "good", "weather": "bad"})
        assert made.score(lm, task.test[:2]).shape == (2, 2)
        assert made.template.fields == ("text",)
        assert (family != "llama") or text.endswith("{mask}")


def test_what_it_refuses() -> None:
    for lm, said in ((tiny("bert"), "no seq2seq model"), (tiny("bart"), "a seq2seq model without sentinels")):
        with pytest.raises(NeedsError, match=f"`{lm.name}` is {said}"):
            written(lm, EXAMPLES, WORDS, BEHIND, beams=2)
    with pytest.raises(SettingError, match="beams=0, steps=18"):
        written(T5, EXAMPLES, WORDS, BEHIND, beams=0)
    with pytest.raises(DataError, match="there are no examples to write templates for"):
        written(T5, (), (), BEHIND, beams=1)
