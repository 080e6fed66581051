"""A prompt that answers with a tag an item."""

import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from promptatlas.artifact.load import load
from promptatlas.artifact.save import save
from promptatlas.data.example import Example
from promptatlas.data.task import Task
from promptatlas.data.view import One, Tags
from promptatlas.errors import DataError, PromptAtlasError, TemplateError, TooLong, WordError
from promptatlas.lm.scripted import ScriptedLM
from promptatlas.parts.head import Head
from promptatlas.prompting import Ensemble, Prompt
from promptatlas.prompting.items import items
from promptatlas.prompting.make import check_fit, prompt
from promptatlas.score.calibrate import Divide
from promptatlas.score.soft import Classifier
from promptatlas.testing.tiny import tiny
from promptatlas.text.template import Template

LABELS = ("B-X", "I-X", "O")
EXAMPLES = [
    Example({"tokens": one}, None, str(at))
    for at, one in enumerate([["the", "unbelievable", "dog"], ["电", "影", "很", "好"], [], ["rain"], ["a", "cat"] * 9])
]


def tagger(labels: tuple[str, ...] = LABELS, template: str = "{tokens:each}", width: int = 32, seed: int = 0) -> Prompt:
    weight = torch.randn(len(labels), width, generator=torch.Generator().manual_seed(seed))
    return Prompt(
        template=Template.parse(template),
        words=Classifier(labels=labels, pool="each"),
        view=Tags(),
        parts={"head": Head(weight, torch.arange(float(len(labels))))},
    )


def test_an_items_state_goes_through_the_head() -> None:
    """A causal model whose state is how many a's were said: weights and answers by hand."""
    lm = ScriptedLM(["a", "b"], lambda text: {"a": 0.0}, kind="causal", embedding=lambda text: (text.count("a"), 1.0))
    head = Head(torch.tensor([[1.0, 0.0], [0.0, 2.5]]), torch.tensor([0.0, -1.0]))
    made = replace(tagger(), words=Classifier(labels=("many", "few"), pool="each"), parts={"head": head})
    examples = [Example({"tokens": ["a", "b", "a"]}), Example({"tokens": ["b"]})]
    one, other = items(made, lm, examples)
    torch.testing.assert_close(one, torch.tensor([[1.0, 1.5], [1.0, 1.5], [2.0, 1.5]]).log_softmax(-1))
    torch.testing.assert_close(other, torch.tensor([[0.0, 1.5]]).log_softmax(-1))
    answers = made.predict(lm, examples)
    assert [answer.value for answer in answers] == [("few", "few", "many"), ("few",)]
    assert answers[1].each == pytest.approx([math.exp(1.5) / (1 + math.exp(1.5))])


@pytest.mark.parametrize("family", ["bert", "roberta", "albert", "deberta-v2", "modernbert", "gpt2", "llama", "opt"])
def test_an_items_tags_are_the_same_in_any_company(family: str) -> None:
    lm, made = tiny(family), tagger()
    together = items(made, lm, EXAMPLES)
    assert [len(one) for one in together] == [3, 4, 0, 1, 18]
    for one, found in zip(EXAMPLES, together, strict=True):
        (alone,) = items(made, lm, [one])
        torch.testing.assert_close(alone, found, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(found.exp().sum(-1), torch.ones(len(found)))
    answers = made.predict(lm, EXAMPLES)
    assert [answer.value for answer in answers] == [
        tuple(LABELS[at] for at in one.argmax(-1).tolist()) for one in together
    ]
    assert answers[2].value == ()
    torch.testing.assert_close(made.mass(lm, EXAMPLES), torch.cat(together), atol=1e-5, rtol=1e-5)


def test_a_word_of_several_pieces_is_read_at_its_first() -> None:
    lm, made = tiny("bert"), tagger()
    (row,) = lm.encode([made.render(lm, Example({"tokens": ["the", "catfilm", "dog"]}))], made.parts)
    pieces = lm.pieces(row.ids)
    first, second, third = (slot.positions[0] for slot in row.slots)
    assert (pieces[first], pieces[third]) == ("the", "dog")
    word = pieces[second:third]
    assert len(word) > 1
    assert "".join(one.removeprefix("##") for one in word) == "catfilm"


def test_items_that_do_not_fit_are_answered_outside_and_told() -> None:
    lm, long = tiny("bert"), Example({"tokens": ["the"] * 200}, ("B-X",) * 200)
    made = tagger()
    (answer,) = made.predict(lm, [long])
    assert lm.window == 160
    assert answer.why == "the last 42 of 200 items didn't fit, and are answered `O` unread"
    assert len(answer.value) == len(answer.each) == 200
    assert answer.value[158:] == ("O",) * 42
    assert answer.each[158:] == (0.0,) * 42
    assert min(answer.each[:158]) > 0
    assert [len(one) for one in items(made, lm, [long, EXAMPLES[0]])] == [158, 3]
    with pytest.raises(TooLong, match="a row needs 202 positions for what may not be cut"):
        tagger(template="{tokens!:each}").predict(lm, [long])


def test_text_around_and_another_field() -> None:
    lm = tiny("bert")
    made = replace(tagger(template="Topic : {topic} {sep} {words:each} ."), view=Tags("words"))
    (answer,) = made.predict(lm, {"topic": "news", "words": ("rain", "fell")})
    assert len(answer.value) == 2


def test_tags_are_saved(tmp_path: Path) -> None:
    made, lm = tagger(), tiny("bert")
    again = load(save(made, tmp_path / "tags"))
    assert again == made
    assert isinstance(again, Prompt)
    for one, other in zip(items(again, lm, EXAMPLES), items(made, lm, EXAMPLES), strict=True):
        assert torch.equal(one, other)


def test_the_labels_are_the_tags() -> None:
    assert tagger().labels == LABELS


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (
            lambda lm: tagger().score(lm, EXAMPLES),
            "tags are scored item by item\n\nhint: use predict, or `prompting.items`",
        ),
        (
            lambda lm: tagger().predict(lm, EXAMPLES, abstain=0.1),
            "only label words have a mass to abstain by, and this prompt has none\n\nhint: abstain=0",
        ),
        (
            lambda lm: replace(tagger(), calibration=(Divide(prior=(0.2, 0.3, 0.5)),)),
            "scores of tags can't be calibrated\n\nhint: leave `calibration` out",
        ),
        (
            lambda lm: Ensemble(prompts=(tagger(), tagger(seed=1))),
            "prompts for tags don't answer together\n\nhint: take one of them",
        ),
        (
            lambda lm: replace(tagger(), words=Classifier(labels=LABELS[:2], pool="each")).predict(lm, EXAMPLES),
            "the part `head` scores 3 labels, and the prompt has 2",
        ),
        (
            lambda lm: tagger(template="{tokens}").predict(lm, {"tokens": "a cat"}),
            "example ``: `tokens` is not a list of items",
        ),
        (
            lambda lm: tagger(template="{text}").predict(lm, {"text": "a cat", "tokens": ["a", "cat"]}),
            "labels are read at each item, and `{text}` shows none\n\n"
            "hint: write {tokens:each} where the items of a list are to be read",
        ),
        (
            lambda lm: prompt("{tokens:each}").predict(lm, {"tokens": ["a", "cat"]}),
            "`{tokens:each}` has no slot where an answer's text could stand\n\n"
            "hint: put {mask} in it; for tags, fit a method that trains a head first",
        ),
    ],
)
def test_what_tags_can_not_do_is_said(ask: Callable[[object], object], message: str) -> None:
    with pytest.raises(PromptAtlasError) as caught:
        ask(tiny("bert"))
    assert str(caught.value) == message


def test_a_seq2seq_model_can_not_be_read_at_items() -> None:
    with pytest.raises(TemplateError, match="a seq2seq model writes one answer and can't be read at every item"):
        tagger().predict(tiny("t5"), EXAMPLES)


def test_a_prompt_that_shows_items_is_for_tags() -> None:
    made = prompt("{words:each}")
    assert made.view == Tags("words")
    assert prompt("{words:each}", {"up": "good", "down": "bad"}).view == One()


TASK = Task(
    name="names", kind="tags", fields=("tokens",), labels=LABELS,
    train=(Example({"tokens": ["a", "cat"]}, ("O", "B-X"), "1"),),
)  # fmt: skip


def test_a_prompt_fits_a_task_of_tags() -> None:
    check_fit(prompt("{tokens:each}"), TASK)
    check_fit(tagger(), TASK)
    check_fit(tagger((*LABELS, "B-Y")), TASK)


@pytest.mark.parametrize(
    ("made", "error", "message"),
    [
        (
            prompt("{tokens}{mask}"),
            TemplateError,
            "`names` has a tag an item, and `{tokens}{mask}` shows no items\n\n"
            "hint: write {tokens:each} where the items of a list are to be read",
        ),
        (
            prompt("{tokens:each}", {"O": "no", "B-X": "yes", "I-X": "maybe"}),
            DataError,
            "`names` has tags, and the prompt answers with a label an example\n\n"
            "hint: leave the words out: a method trains a head for the tags",
        ),
        (
            tagger(("B-X", "O")),
            DataError,
            "the prompt doesn't know the tag `I-X` of `names`\n\nhint: did you mean `B-X`?",
        ),
    ],
)
def test_a_prompt_that_does_not_fit_a_task_of_tags(made: Prompt, error: type[PromptAtlasError], message: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        check_fit(made, TASK)


def test_choices_need_a_slot_too() -> None:
    with pytest.raises(WordError, match=r"`\{text\}` has no slot where an answer's text could stand"):
        prompt("{text}").predict(tiny("bert"), {"text": "a", "choices": ["b", "c"]})
