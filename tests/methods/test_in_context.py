"""Methods that train nothing: demonstrations and calibration."""

import math
from dataclasses import replace

import pytest
import torch

from promptatlas.data.example import Example
from promptatlas.data.task import Task
from promptatlas.data.view import Choices
from promptatlas.demos.pick import Fixed
from promptatlas.errors import NeedsError, SettingError
from promptatlas.lm.local import LocalLM
from promptatlas.lm.scripted import ScriptedLM
from promptatlas.methods.contextual_calibration import ContextualCalibration
from promptatlas.methods.in_context import InContext
from promptatlas.methods.kate import KATE
from promptatlas.prompting import Prompt
from promptatlas.score.own import Own
from promptatlas.score.slots import SlotWords
from promptatlas.score.words import Words
from promptatlas.testing.tasks import toy, toy_prompt
from promptatlas.testing.tiny import tiny
from promptatlas.text.runs import TextRun
from promptatlas.text.template import Template

TASK = toy()
LM = "gpt2"


def text_of(prompt: Prompt, example: Example) -> str:
    return "".join(run.text for run in prompt.render(tiny(LM), example) if isinstance(run, TextRun))


def test_two_demonstrations_the_query_once_and_last() -> None:
    prompt = InContext(k=2, between="\n").fit(tiny(LM), TASK, toy_prompt())
    query = Example({"text": "that movie"})
    shown = prompt.demos.pick(tiny(LM), [query])[0]
    word = {"pets": "good", "weather": "bad"}
    said = "".join(f"{one.fields['text']} It was {word[str(one.target)]}\n" for one in shown)
    assert len(shown) == 2
    assert {one.target for one in shown} == {"pets", "weather"}
    assert text_of(prompt, query) == said + "that movie It was "


def test_an_instruction_is_said_once() -> None:
    template = Template.parse("Topics.\n{demos}{text} It was {mask}")
    prompt = InContext(k=2, between="\n").fit(tiny(LM), TASK, replace(toy_prompt(), template=template))
    assert text_of(prompt, Example({"text": "that movie"})).count("Topics.") == 1


def test_the_same_draw_for_the_same_seed_and_an_own_one_for_each_input_where_asked() -> None:
    lm, queries = tiny(LM), TASK.test[:6]
    same = [InContext(k=4, seed=3).fit(lm, TASK, toy_prompt()).demos.pick(lm, queries) for _ in range(2)]
    assert same[0] == same[1]
    assert all(one == same[0][0] for one in same[0])
    each = InContext(k=4, seed=3, each=True).fit(lm, TASK, toy_prompt()).demos.pick(lm, queries)
    assert len({tuple(example.key for example in one) for one in each}) > 1


def test_more_demonstrations_than_examples_is_an_error() -> None:
    with pytest.raises(SettingError, match="33 demonstrations of 32 training examples"):
        InContext(k=33).fit(tiny(LM), TASK, toy_prompt())


def test_kate_shows_the_nearest_and_never_the_input_itself() -> None:
    lm = tiny(LM)
    first = KATE(k=3).fit(lm, TASK, toy_prompt())
    last = KATE(k=3, order="nearest_last").fit(lm, TASK, toy_prompt())
    for query in TASK.train[:5]:
        near, reverse = first.demos.pick(lm, [query])[0], last.demos.pick(lm, [query])[0]
        assert near == reverse[::-1]
        assert query not in near
    vectors = lm.embed([str(one.fields["text"]) for one in (TASK.test[0], *TASK.train)])
    best = int((vectors[1:] @ vectors[0]).argmax())
    assert first.demos.pick(lm, [TASK.test[0]])[0][0] == TASK.train[best]


def test_calibration_keeps_the_prior_and_its_entropy() -> None:
    lm = tiny(LM)
    prompt = ContextualCalibration().fit(lm, TASK, InContext(k=2).fit(lm, TASK, toy_prompt()))
    divide = prompt.calibration[0]
    assert divide.nulls(Example({"text": "x"}), prompt.template) == ()
    prior = [float(prompt.history[-1].figures[f"prior {label}"]) for label in prompt.labels]
    assert math.isclose(sum(prior), 1, abs_tol=1e-3)
    blanks = [Example({"text": blank}) for blank in ContextualCalibration().blanks]
    mass = replace(prompt, calibration=()).mass(lm, blanks).exp().mean(0)  # averaged before they are normalised
    torch.testing.assert_close(torch.tensor(prior), (mass / mass.sum()).float(), atol=1e-3, rtol=0)


def test_one_blank_itself_comes_out_uniform() -> None:
    lm = tiny(LM)
    prompt = ContextualCalibration(blanks=("N/A",)).fit(lm, TASK, toy_prompt())
    torch.testing.assert_close(prompt.score(lm, [Example({"text": "N/A"})]).exp(), torch.full((1, 2), 0.5))


def test_permuting_the_labels_permutes_the_scores() -> None:
    lm = tiny(LM)
    turned = replace(toy_prompt(), words=Words(words=dict(reversed(list(toy_prompt().words.words.items())))))  # type: ignore[attr-defined]
    one = ContextualCalibration().fit(lm, TASK, toy_prompt()).score(lm, TASK.test)
    other = ContextualCalibration().fit(lm, TASK, turned).score(lm, TASK.test)
    torch.testing.assert_close(one, other.flip(1))


def test_a_label_s_words_are_summed_before_they_are_calibrated() -> None:
    lm, words = tiny(LM), Words.of({"pets": ["good", "great"], "weather": "bad"})
    prompt = ContextualCalibration().fit(lm, TASK, replace(toy_prompt(), words=words))
    both = replace(toy_prompt(), words=Words.of({"a": "good", "b": "great"})).mass(lm, TASK.test).exp().sum(-1)
    torch.testing.assert_close(replace(prompt, calibration=()).mass(lm, TASK.test)[:, 0].exp(), both)


def test_demonstrations_are_joined_as_the_prompt_says() -> None:
    prompt = InContext(k=2).fit(tiny(LM), TASK, replace(toy_prompt(), between=Template.parse(" # ")))
    assert text_of(prompt, Example({"text": "that movie"})).count(" # ") == 2


def test_scores_that_only_rank_say_so() -> None:
    lm = tiny(LM)
    identity = ContextualCalibration(mode="identity").fit(lm, TASK, toy_prompt())
    assert "only rank" in identity.predict(lm, ["cat"])[0].why
    assert ContextualCalibration().fit(lm, TASK, toy_prompt()).predict(lm, ["cat"])[0].why == ""


def test_calibration_refuses_demonstrations_that_depend_on_the_input() -> None:
    lm = tiny(LM)
    kate = KATE(k=2).fit(lm, TASK, toy_prompt())
    with pytest.raises(NeedsError) as caught:
        ContextualCalibration().fit(lm, TASK, kate)
    assert str(caught.value) == (
        "`contextual_calibration` needs the same demonstrations for all inputs, and this prompt's depend on it\n\n"
        "hint: calibrate under each input's own with each=True (a row a blank more each), or use fixed ones"
    )
    each = ContextualCalibration(blanks=("N/A",), each=True).fit(lm, TASK, kate)
    query = TASK.test[0]
    shown = kate.demos.pick(lm, [query])[0]
    fixed = replace(kate, demos=Fixed(tuple(shown)))
    by_hand = ContextualCalibration(blanks=("N/A",)).fit(lm, TASK, fixed)
    torch.testing.assert_close(each.score(lm, TASK.test[:4])[:1], by_hand.score(lm, [query]), atol=1e-5, rtol=1e-5)


def test_demonstrations_drop_an_old_calibration() -> None:
    lm = tiny(LM)
    calibrated = ContextualCalibration().fit(lm, TASK, toy_prompt())
    assert calibrated.calibration
    assert InContext(k=2).fit(lm, TASK, calibrated).calibration == ()


TWO_OR_ONE = Task(
    name="two or one",
    kind="choice",
    fields=("text", "choices"),
    train=tuple(Example({"text": "q", "choices": ("a rest", "b")}, "b", str(at)) for at in range(2)),
)
ASKED = Example({"text": "q", "choices": ("a rest", "b")})


def normalised(text: str) -> dict[str, float]:
    """After a question `a` and then `rest` are -1 each, `b` is -1.8; where nothing is asked `a` is -2, `b` is -1."""
    if text.endswith(" a"):
        return {"rest": -1.0, "b": math.log(1 - math.exp(-1))}
    a, b = (-1.0, -1.8) if "q" in text else (-2.0, -1.0)
    return {"a": a, "b": b, "rest": math.log(1 - math.exp(a) - math.exp(b))}


def choosing(**settings: object) -> Prompt:
    lm = ScriptedLM(["q", "A:", "a", "b", "rest"], normalised, kind="causal")
    start = Prompt(template=Template.parse("{text} A:{mask}"), words=Own(), view=Choices())
    return InContext(k=0, **settings).fit(lm, TWO_OR_ONE, start)  # type: ignore[arg-type]


def scores(prompt: Prompt) -> torch.Tensor:
    lm = ScriptedLM(["q", "A:", "a", "b", "rest"], normalised, kind="causal")
    return prompt.score(lm, [ASKED])[0]


def test_an_answer_s_tokens_are_added_averaged_or_compared_with_no_question() -> None:
    """Sums -2 and -1.8, means -1 and -1.8; where nothing is asked -3 and -1, so +1 and -.8."""
    for over, (a, b) in {None: (-2, -1.8), "sum": (-2, -1.8), "mean": (-1, -1.8), "unconditional": (1, -0.8)}.items():
        found = scores(choosing(over_tokens=over))
        assert float(found[0] - found[1]) == pytest.approx(a - b, abs=1e-5)
    assert choosing().words == Own()


def test_no_question_is_asked_by_the_template_s_end_or_as_one_says() -> None:
    assert (
        choosing(over_tokens="unconditional").calibration
        == choosing(over_tokens="unconditional", domain=" A:{mask}").calibration
    )
    with pytest.raises(SettingError, match="no domain of"):
        choosing(over_tokens="unconditional", domain="{text} A:{mask}")
    with pytest.raises(SettingError) as caught:
        choosing(domain=" A:{mask}")
    assert str(caught.value) == ('nothing is divided by ` A:{mask}`\n\nhint: set over_tokens="unconditional"')


def test_demonstrations_do_not_stand_where_nothing_is_asked() -> None:
    lm = ScriptedLM(["q", "A:", "a", "b", "rest"], normalised, kind="causal")
    start = Prompt(template=Template.parse("{text} A:{mask}"), words=Own(), view=Choices())
    prompt = InContext(k=2, over_tokens="unconditional").fit(lm, TWO_OR_ONE, start)
    found = prompt.score(lm, [ASKED])[0]
    assert float(found[0] - found[1]) == pytest.approx(1.8, abs=1e-5)


def test_what_has_no_tokens_of_its_own_is_refused() -> None:
    words = SlotWords(words={"pets": ("good", "mat"), "weather": ("bad", "town")})
    start = Prompt(template=Template.parse("{text} {mask:a} on {mask:b}"), words=words)
    with pytest.raises(SettingError, match="answers of kind `slot_words` have no tokens to mean"):
        InContext(k=2, over_tokens="mean").fit(tiny("bert"), TASK, start)


@pytest.mark.parametrize("family", ["bert", "gpt2", "t5"])
@pytest.mark.parametrize("over", ["sum", "mean", "unconditional"])
def test_words_of_several_tokens_on_every_kind_of_model(family: str, over: str) -> None:
    lm = tiny(family)
    words = Words.of({"pets": "good cat", "weather": "bad"})
    start = replace(toy_prompt(), words=words)
    made = InContext(k=2, over_tokens=over).fit(lm, TASK, start)  # type: ignore[arg-type]
    few = TASK.test[:3]
    lengths = torch.tensor([len(ids) for (ids,) in words.tokens(lm, start.template).values()])
    with torch.no_grad():
        mass = replace(made, words=words, calibration=()).mass(lm, few)  # sums
        alone = replace(start, template=Template.parse(" It was {mask}")).mass(lm, [{}])
        found = made.score(lm, few)
    expected = {"sum": mass, "mean": mass / lengths, "unconditional": mass - alone}[over]
    assert lengths.tolist()[0] > 1
    torch.testing.assert_close(found, expected.log_softmax(-1).to(found.dtype), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("family", ["bert", "gpt2", "t5"])
def test_as_many_as_fit(family: str) -> None:
    lm = tiny(family)
    prompt = InContext(k=None).fit(lm, TASK, toy_prompt())
    figures = prompt.history[-1].figures
    shown = [demos_in(lm, prompt, one) for one in TASK.unlabeled]
    assert figures["looked"] == len(shown) == 8
    assert figures["fewest"] == min(shown)
    assert figures["shown"] == pytest.approx(sum(shown) / len(shown), abs=0.01)
    k = prompt.demos.k  # type: ignore[attr-defined]
    assert sorted(shown)[3] >= k > 2
    more = InContext(k=k + 1).fit(lm, TASK, toy_prompt())
    assert sorted(demos_in(lm, more, one) for one in TASK.unlabeled)[3] < k + 1


def demos_in(lm: LocalLM, prompt: Prompt, example: Example) -> int:
    (row,) = prompt.reader(lm).encode(prompt.lines(lm, [example])[0])
    return row.demos()


def test_a_window_without_room_for_one_is_said() -> None:
    texts = [f"{one.fields['text']} {'cat ' * 300}" for one in TASK.train]
    train = tuple(replace(one, fields={"text": text}) for one, text in zip(TASK.train, texts, strict=True))
    long = replace(TASK, train=train, unlabeled=())
    for k in (2, None):
        with pytest.raises(NeedsError, match="`in_context` shows demonstrations, and the window of tiny-gpt2"):
            InContext(k=k).fit(tiny(LM), long, toy_prompt())
    assert InContext(k=0).fit(tiny(LM), long, toy_prompt()).history[-1].figures["shown"] == 0


def test_an_answer_s_score_is_the_model_s_cross_entropy_of_its_tokens_alone() -> None:
    lm = tiny(LM)
    start = Prompt(template=Template.parse("{text} A: {mask}"), words=Own(), view=Choices())
    choices = ("good cat", "bad")
    train = tuple(Example({"text": "the old film", "choices": choices}, "bad", key) for key in "ab")
    task, example = replace(TWO_OR_ONE, train=train), Example({"text": "that movie", "choices": choices})
    made = InContext(k=1, between="\n").fit(lm, task, start)
    context = "the old film A: bad\nthat movie A:"
    expected = []
    with torch.no_grad():
        for choice in choices:
            ids = torch.tensor([[*lm.tokens(context), *lm.tokens(f" {choice}")]])
            answer = len(lm.tokens(f" {choice}"))
            logits = lm.model(input_ids=ids).logits[0, -answer - 1 : -1]
            expected.append(-torch.nn.functional.cross_entropy(logits, ids[0, -answer:], reduction="sum"))
        company = [example, *(Example({"text": "rain " * n, "choices": ("cat", "bad")}) for n in (1, 20))]
        found = made.score(lm, company)[0]
    torch.testing.assert_close(found, torch.stack(expected).log_softmax(-1), atol=1e-4, rtol=1e-4)
