from dataclasses import replace

import pytest
import torch

from promptatlas.errors import SettingError
from promptatlas.parts.head import of_rows, random_rows
from promptatlas.parts.soften import fresh, of_tokens, soften, spaced
from promptatlas.parts.vectors import Vectors
from promptatlas.prompting import Prompt
from promptatlas.score.soft import LabelVectors, rows_of
from promptatlas.score.words import Words
from promptatlas.testing.tasks import toy, toy_prompt
from promptatlas.testing.tiny import names, tiny
from promptatlas.text.template import Template

TASK = toy()
TEMPLATES = [
    "{text} It was {mask}.",
    "It was a {mask} movie: {text} !",
    "It was {text} ? {mask}, the best",
    "Review : {text}{sep}the {mask} {text|lower}",
    "{start}It was {mask}: {text}",
]


def softened(prompt: Prompt, name: str) -> Prompt:
    lm = tiny(name)
    template, tokens = soften(lm, prompt.template, TASK.train[0].fields, name="soft", parts=prompt.parts)
    return replace(prompt, template=template).plus(**{part: of_tokens(lm, ids) for part, ids in tokens.items()})


@pytest.mark.parametrize("name", names("masked"))
@pytest.mark.parametrize("template", TEMPLATES)
def test_words_as_vectors_say_what_the_words_said(name: str, template: str) -> None:
    hard = replace(toy_prompt(), template=Template.parse(template))
    soft = softened(hard, name)
    assert not any(str(piece).strip() for piece in soft.template.pieces if type(piece).__name__ == "TextPiece")
    torch.testing.assert_close(soft.score(tiny(name), TASK.test), hard.score(tiny(name), TASK.test), atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", ["gpt2", "llama", "opt", "t5"])
def test_so_they_do_in_models_of_other_kinds(name: str) -> None:
    hard = replace(toy_prompt(), template=Template.parse("Review : {text} It was {mask}"))
    torch.testing.assert_close(
        softened(hard, name).score(tiny(name), TASK.test), hard.score(tiny(name), TASK.test), atol=1e-6, rtol=0
    )


def test_each_stretch_is_a_part_of_its_own_and_parts_that_are_there_stay() -> None:
    lm = tiny("bert")
    prompt = toy_prompt().lead(lead=Vectors(torch.zeros(2, 32)))
    prompt = replace(prompt, template=Template.parse("{@lead}It {text} It was {mask}."))
    template, tokens = soften(lm, prompt.template, TASK.train[0].fields, name="w", parts=prompt.parts)
    assert str(template) == "{@lead}{start}{@w_0} {text}{@w_1} {mask}{@w_2}"
    assert [lm.pieces(tokens[part]) for part in ("w_0", "w_1", "w_2")] == [["it"], ["it", "was"], ["."]]


def test_a_template_without_words_stays() -> None:
    template = Template.parse("{text} {mask}")
    assert soften(tiny("bert"), template, {"text": "cat"}, name="w", parts={}) == (template, {})


@pytest.mark.parametrize(
    ("template", "wanted"),
    [
        ("{text} It was {mask}.", "{start}{@w_0}{text}{@w_1} {mask}{@w_2}"),
        ("{a}? {mask}, {b}", "{start}{@w_0}{a}{@w_1} {mask}{@w_2} {b}{@w_3}"),
        ("{a}{sep}{b} {mask}{end}", "{start}{@w_0}{a}{sep}{@w_1} {b}{@w_2} {mask}{@w_3}{end}"),
        ("{@old}{text} {mask}", "{start}{@w_0}{text}{@w_1} {mask}{@w_2}"),
    ],
)
def test_vectors_around_fields_and_slot(template: str, wanted: str) -> None:
    assert str(spaced(Template.parse(template), "w")) == wanted


def test_starts() -> None:
    lm = tiny("bert")
    table = lm.vectors
    assert torch.equal(fresh(lm, "mask", 2, seed=0).weight, table[[lm.mask, lm.mask]])
    many = fresh(lm, "alike", 2000, seed=0).weight.detach()
    assert float(many.mean()) == pytest.approx(float(table.mean()), abs=2e-3)
    assert float(many.std()) == pytest.approx(float(table.std()), rel=0.02)
    each = fresh(lm, "by_dimension", 4000, seed=0).weight.detach()
    torch.testing.assert_close(each.mean(0), table.mean(0), atol=0.01, rtol=0)
    torch.testing.assert_close(each.std(0), table.std(0), atol=0.01, rtol=0)
    assert float(fresh(lm, "normal", 2000, seed=0, scale=0.02).weight.detach().std()) == pytest.approx(0.02, rel=0.02)
    assert not torch.equal(fresh(lm, "normal", 2, seed=0).weight, fresh(lm, "normal", 2, seed=1).weight)
    with pytest.raises(SettingError, match="`start` can't be `masks`"):
        fresh(lm, "masks", 2, seed=0)
    with pytest.raises(SettingError, match="tiny-gpt2 has no mask to start from"):
        fresh(tiny("gpt2"), "mask", 2, seed=0)


@pytest.mark.parametrize("name", names())
def test_rows_of_words_score_as_the_words(name: str) -> None:
    lm, words = tiny(name), Words.of({"up": ["good", "great"], "down": "bad"})
    hard = replace(toy_prompt(), words=words)
    rows = rows_of(words, lm, hard.template, single=False)
    soft = replace(hard.plus(label_vectors=rows), words=LabelVectors(labels=words.labels))
    if all(len(ids) == 1 for some in words.tokens(lm, hard.template).values() for ids in some):
        torch.testing.assert_close(soft.score(lm, TASK.test), hard.score(lm, TASK.test), atol=1e-6, rtol=0)


def test_a_label_of_several_tokens_starts_from_their_mean() -> None:
    lm = tiny("bert")
    rows = of_rows(lm, [[7, 9], [8]])
    torch.testing.assert_close(rows.weight.detach(), torch.stack([lm.outputs[[7, 9]].mean(0), lm.outputs[8]]))
    bias = lm.parameters["cls.predictions.bias"]
    torch.testing.assert_close(rows.bias.detach(), torch.stack([bias[[7, 9]].mean(), bias[8]]), atol=1e-6, rtol=0)


def test_random_rows_are_a_linear_layers_start() -> None:
    rows = random_rows(tiny("bert"), 500, seed=3)
    assert float(rows.weight.detach().abs().max()) <= 32**-0.5
    assert float(rows.weight.detach().std()) == pytest.approx(32**-0.5 / 3**0.5, rel=0.03)
    assert torch.equal(rows.weight, random_rows(tiny("bert"), 500, seed=3).weight)


def test_what_is_no_word_is_refused() -> None:
    with pytest.raises(SettingError, match="no label words to start label vectors from"):
        rows_of(LabelVectors(labels=("a", "b")), tiny("bert"), toy_prompt().template, single=True)
