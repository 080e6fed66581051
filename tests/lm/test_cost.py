"""What answers cost."""

from dataclasses import replace
from itertools import permutations

import pytest

from promptatlas.data.example import Example
from promptatlas.demos.pick import Fixed
from promptatlas.lm.ask import Decode
from promptatlas.lm.cost import counted
from promptatlas.prompting import Prompt
from promptatlas.score.own import Own
from promptatlas.search.probe import ordered
from promptatlas.testing.tasks import toy, toy_prompt
from promptatlas.testing.tiny import tiny
from promptatlas.text.template import Template

TASK = toy()


@pytest.mark.parametrize("family", ["bert", "llama", "t5"])
def test_what_an_answer_takes(family: str) -> None:
    lm = tiny(family)
    lm.kept.clear()
    with counted(lm) as few:
        toy_prompt().predict(lm, TASK.test[:6])
    with counted(lm) as many:
        toy_prompt().predict(lm, TASK.test[6:18])
    assert few.passes == many.passes == 1
    assert 1.5 * few.tokens < many.tokens < 2.5 * few.tokens
    assert 1.5 * few.operations < many.operations < 2.5 * few.operations
    assert many.each(12)["passes"] == 1 / 12


def test_what_is_found_out_about_a_model_belongs_to_no_answer() -> None:
    lm, spent = tiny("gpt2", seed=41), []  # a model that nobody read yet
    for _ in range(2):
        lm.kept.clear()
        with counted(lm) as cost:
            toy_prompt().predict(lm, TASK.test[:4])
        spent.append((cost.passes, cost.tokens, cost.operations))
    assert spent[0] == spent[1]


@pytest.mark.parametrize("family", ["gpt2", "t5"])
def test_writing_is_a_pass_a_token(family: str) -> None:
    lm = tiny(family)
    one = Prompt(template=Template.parse("{text} It was {mask}"), words=Own())
    with counted(lm) as cost:
        found = one.generate(lm, TASK.test[:2], Decode(max_new=5))
    assert max(len(texts[0].ids) for texts in found) <= cost.passes <= 5
    assert cost.tokens > cost.passes
    with counted(lm) as twice:
        one.generate(lm, TASK.test[:2], Decode(max_new=5, n=2, temperature=1.0))
    assert twice.tokens > cost.tokens


def test_orders_share_what_they_begin_with() -> None:
    """24 orders of 4 demonstrations are a tree of 4 + 12 + 24 + 24 = 64, behind which stands each question."""
    lm = tiny("llama")
    lm.kept.clear()
    texts = [f"the old {one} sat on the mat" for one in ("cat", "dog", "rain", "hill")]
    shown = [Example({"text": text}, "pets" if at < 2 else "weather") for at, text in enumerate(texts)]
    asked = [Example({"text": f"the grey {one} ran over"}) for one in ("cat", "dog", "rain", "hill", "town")]
    one = toy_prompt()
    with counted(lm) as cost:
        ordered(one, lm, list(permutations(shown)), asked)
    shows = replace(one, demos=Fixed(tuple(shown)))
    rows = one.reader(lm).encode(shows.lines(lm, asked)[0])
    demonstrations = [sum(span.end - span.start for span in row.spans if span.demo is not None) for row in rows]
    questions = sum(map(len, rows)) - sum(demonstrations)
    assert cost.tokens <= 64 * demonstrations[0] / 4 + 24 * questions
    assert cost.tokens < 24 * sum(map(len, rows)) / 3
