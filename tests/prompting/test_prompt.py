"""A prompt scores, predicts, and is a value."""

import math
from dataclasses import replace

import pytest
import torch

from promptatlas.data.example import Example
from promptatlas.data.read import read_rows
from promptatlas.data.task import Task
from promptatlas.data.view import Choices
from promptatlas.demos.pick import Fixed
from promptatlas.errors import ArtifactError, DataError, SettingError, TemplateError
from promptatlas.lm.scripted import ScriptedLM
from promptatlas.methods.fine_tuning import FineTuning
from promptatlas.methods.prompt_tuning import PromptTuning
from promptatlas.parts.vectors import Vectors, vocabulary
from promptatlas.prompting import Ensemble, Prompt
from promptatlas.score.calibrate import PMI, Divide
from promptatlas.score.own import Own
from promptatlas.score.words import Words
from promptatlas.testing.tasks import toy, toy_prompt
from promptatlas.testing.tiny import tiny
from promptatlas.text.template import Template

TEMPLATE = Template.parse("{text} It was {mask}")
WORDS = Words.of({"positive": "great", "negative": ["bad", "terrible"]})
PROMPT = Prompt(template=TEMPLATE, words=WORDS)
TEXTS = ["A good movie", "the rain fell upon the old grey town", "", "电影很好看"]
EXAMPLES = [Example({"text": text}, key=str(i)) for i, text in enumerate(TEXTS)]
FAMILIES = ["bert", "roberta", "llama", "gpt2", "t5", "bart"]


@pytest.mark.parametrize("family", FAMILIES)
def test_scores_are_distributions_over_the_labels_whoever_stands_beside(family: str) -> None:
    lm = tiny(family)
    scores = PROMPT.score(lm, EXAMPLES)
    assert scores.shape == (4, 2)
    torch.testing.assert_close(scores.exp().sum(-1), torch.ones(4))
    alone = torch.cat([PROMPT.score(lm, [one]) for one in reversed(EXAMPLES)]).flip(0)
    torch.testing.assert_close(scores, alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_mass_is_a_probability_under_the_vocabulary(family: str) -> None:
    lm = tiny(family)
    prompt = replace(PROMPT, words=replace(WORDS, over_words="sum_prob"))
    mass = prompt.mass(lm, EXAMPLES)
    assert (mass.exp().sum(-1) < 1).all()
    torch.testing.assert_close(mass.log_softmax(-1), prompt.score(lm, EXAMPLES), atol=1e-5, rtol=1e-5)


def test_the_same_for_words_of_several_tokens() -> None:
    words = Words.of({"one": "great", "two": "unbelievable"})
    for family in ("roberta", "gpt2", "bart"):
        lm = tiny(family)
        assert len(lm.word("unbelievable", TEMPLATE.before())) > 1
        scores = replace(PROMPT, words=words).score(lm, EXAMPLES)
        assert torch.isfinite(scores).all()
        one = replace(PROMPT, words=words).score(lm, EXAMPLES[:1])
        torch.testing.assert_close(scores[:1], one, atol=1e-5, rtol=1e-5)


def test_predict_takes_texts_fields_and_examples() -> None:
    answers = PROMPT.predict(tiny("bert"), ["A good movie", {"text": "A good movie"}, EXAMPLES[0]])
    assert len({(one.value, one.confidence) for one in answers}) == 1
    assert answers[0].value in ("positive", "negative")
    assert math.isclose(sum(answers[0].probabilities.values()), 1, abs_tol=1e-6)
    assert PROMPT.predict(tiny("bert"), []) == []


def test_a_text_needs_a_template_with_one_field() -> None:
    two = replace(PROMPT, template=Template.parse("{a} {b} {mask}"))
    with pytest.raises(TemplateError, match=r"`a`.*`b`"):
        two.predict(tiny("bert"), ["text"])


def test_abstains_where_all_labels_have_little_mass() -> None:
    answer = PROMPT.predict(tiny("bert"), ["A good movie"], abstain=0.9999)[0]
    assert answer.value is None
    assert "all labels together" in answer.why
    assert PROMPT.predict(tiny("bert"), ["A good movie"], abstain=1e-12)[0].value is not None


def test_demonstrations_stand_in_front_and_the_oldest_go_first_where_the_window_is_short() -> None:
    lm = tiny("llama")
    cats = [Example({"text": "the cat sat on the mat"}, "positive") for _ in range(40)]
    shown = (Example({"text": "rain"}, "positive"), *cats, Example({"text": "a dog ran"}, "negative"))
    prompt = replace(PROMPT, demos=Fixed(shown), between=Template.parse(" ; "))
    lines, _ = prompt.lines(lm, EXAMPLES[:1])
    row = prompt.reader(lm).encode(lines)[0]
    text = lm.text(row.ids)
    assert len(row) <= lm.window
    assert row.cut() == 0
    assert "dog" in text
    assert "rain" not in text
    assert text.count("cat") in range(1, 40)


def test_a_prompt_is_a_value() -> None:
    same = Prompt(template=TEMPLATE, words=Words.of({"positive": "great", "negative": ["bad", "terrible"]}))
    assert same == PROMPT
    assert hash(same) == hash(PROMPT)
    assert replace(PROMPT, template=Template.parse("{text} {mask}")) != PROMPT
    soft = PROMPT.lead(soft=Vectors(torch.zeros(2, 32)))
    assert str(soft.template) == "{@soft}{text} It was {mask}"
    assert PROMPT.parts == {}
    with pytest.raises(TypeError):
        soft.parts["other"] = soft.parts["soft"]  # type: ignore[index]


def test_a_learned_prompt_refuses_another_model() -> None:
    lm, task = tiny("bert"), _task()
    prompt = PromptTuning(length=2, steps=2).fit(lm, task, PROMPT)
    with pytest.raises(ArtifactError) as caught:
        prompt.predict(tiny("bert", seed=1), ["A good movie"])
    here, made = tiny("bert", seed=1).identity["weights"], lm.identity["weights"]
    assert str(caught.value) == (
        f"this prompt was learned on `tiny-bert`, and `tiny-bert` has other weights: {here}, not {made}\n\n"
        "hint: load `tiny-bert`, or fit the prompt again on `tiny-bert`"
    )


def _task() -> Task:
    rows = [{"text": f"good movie {i}", "label": "positive"} for i in range(4)]
    return read_rows(rows + [{"text": f"bad film {i}", "label": "negative"} for i in range(4)])


def test_calibration_makes_a_content_free_input_uniform() -> None:
    lm = tiny("gpt2")
    prompt = replace(PROMPT, calibration=(Divide(labels=PROMPT.labels, blanks=("N/A",)),))
    blank = prompt.score(lm, [Example({"text": "N/A"})]).exp()
    torch.testing.assert_close(blank, torch.full((1, 2), 0.5), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(prompt.score(lm, EXAMPLES), PROMPT.score(lm, EXAMPLES))


def test_calibration_follows_the_order_of_demonstrations() -> None:
    lm = tiny("gpt2")
    shown = (Example({"text": "good"}, "positive"), Example({"text": "bad"}, "negative"))
    scores = [
        replace(PROMPT, demos=Fixed(demos), calibration=(Divide(labels=PROMPT.labels),)).score(lm, EXAMPLES)
        for demos in (shown, shown[::-1])
    ]
    assert not torch.allclose(scores[0], scores[1], atol=1e-4)


def test_pmi_scores_the_domain_under_its_own_template() -> None:
    lm = tiny("gpt2")
    domain = Template.parse("the answer : {mask}")
    pmi = replace(PROMPT, calibration=(PMI(domain=domain),)).score(lm, EXAMPLES)
    prior = replace(PROMPT, template=domain).mass(lm, [Example({})])
    torch.testing.assert_close(pmi, (PROMPT.mass(lm, EXAMPLES) - prior).log_softmax(-1), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", ["bert", "roberta", "llama", "gpt2", "t5"])
def test_choices_are_scored_as_texts_at_the_slot(family: str) -> None:
    lm = tiny(family)
    example = Example({"text": "the rain fell", "choices": ("good and bad", "great", "the old grey town")}, "great")
    prompt = Prompt(template=Template.parse("{text} so {mask}"), words=Own(), view=Choices())
    answer = prompt.predict(lm, [example])[0]
    assert set(answer.probabilities) == {"good and bad", "great", "the old grey town"}
    scores = prompt.score(lm, [example]).exp()[0]
    torch.testing.assert_close(scores, torch.tensor(list(answer.probabilities.values())), atol=1e-5, rtol=1e-5)
    shorter = replace(example, fields={**example.fields, "choices": ("great", "bad")})
    with pytest.raises(DataError, match="different numbers of choices"):
        prompt.score(lm, [example, shorter])
    assert len(prompt.predict(lm, [example, shorter])) == 2


def test_yes_or_no_of_each_choice() -> None:
    lm = tiny("bert")
    words = Words.of({"right": "yes", "wrong": "no"})
    prompt = Prompt(template=Template.parse("{text} {choice} ? {mask}"), words=words, view=Choices())
    example = Example({"text": "the rain", "choices": ("fell", "ran")}, "fell")
    answer = prompt.predict(lm, [example])[0]
    rows = replace(prompt, view=PROMPT.view).score(lm, [*Choices().rows(example)])
    odds = (rows[:, 0] - rows[:, 1]).softmax(0)
    assert math.isclose(answer.probabilities["fell"], float(odds[0]), abs_tol=1e-5)


def test_an_ensemble_answers_examples_with_different_numbers_of_choices() -> None:
    lm = tiny("gpt2")
    prompt = Prompt(template=Template.parse("{text} so {mask}"), words=Own(), view=Choices())
    two = replace(prompt, template=Template.parse("{text} and {mask}"))
    examples = [
        Example({"text": "rain", "choices": ("great", "bad")}),
        Example({"text": "a dog", "choices": ("ran", "fell", "sat")}),
    ]
    answers = Ensemble(prompts=(prompt, two)).predict(lm, examples)
    assert [len(one.probabilities) for one in answers] == [2, 3]


def test_a_head_has_no_mass_to_abstain_by() -> None:
    lm = tiny("bert")
    tuned = FineTuning(steps=1).fit(lm, _task(), PROMPT)
    with pytest.raises(SettingError, match="only label words have a mass"):
        tuned.predict(lm, ["A good movie"], abstain=0.5)


def test_an_ensemble_averages_or_votes() -> None:
    lm = tiny("bert")
    prompts = tuple(
        replace(PROMPT, template=Template.parse(one)) for one in ("{text} {mask}", "{mask} : {text}", "it was {mask}")
    )
    mean = Ensemble(prompts=prompts, weights=(1.0, 1.0, 2.0)).score(lm, EXAMPLES)
    own = torch.stack([one.score(lm, EXAMPLES) for one in prompts])
    torch.testing.assert_close(mean, (own * torch.tensor([0.25, 0.25, 0.5])[:, None, None]).sum(0).log_softmax(-1))
    votes = Ensemble(prompts=prompts, vote=True).predict(lm, EXAMPLES)
    most = own.argmax(-1).mode(0).values
    assert [one.value for one in votes] == [PROMPT.labels[int(i)] for i in most]


def test_one_text_is_a_list_of_one_and_what_is_no_text_is_refused() -> None:
    lm = tiny("bert")
    assert PROMPT.predict(lm, "A good movie") == PROMPT.predict(lm, ["A good movie"])
    torch.testing.assert_close(PROMPT.score(lm, ["A good movie"]), PROMPT.score(lm, EXAMPLES[:1]))
    assert PROMPT.mass(lm, {"text": "A good movie"}).shape == (1, 2)
    with pytest.raises(DataError, match="`nan` is no example"):
        PROMPT._example(float("nan"))


def test_an_ensemble_reads_all_its_rows_in_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    lm = tiny("bert")
    prompts = tuple(toy_prompt().lead(soft=vocabulary(lm, 3, seed=seed)) for seed in range(5))
    examples = toy().test[:6]
    apart = torch.stack([one.score(lm, examples) for one in prompts])
    calls, read = [], lm.read
    monkeypatch.setattr(lm, "read", lambda jobs: calls.append(len(jobs)) or read(jobs))
    for vote in (False, True):
        both = Ensemble(prompts=prompts, vote=vote)
        scores, answers = both.score(lm, examples), both.predict(lm, examples)
        assert [one.value for one in answers] == [both.labels[int(row.argmax())] for row in scores]
        if not vote:
            torch.testing.assert_close(scores, apart.mean(0).log_softmax(-1), atol=1e-5, rtol=0)
    assert calls == [5 * 6] * 4


def test_a_vote_by_hand() -> None:
    """Sheet 27: of yes, no, yes, maybe, no yes and no tie, and the higher mean log-probability settles it."""
    said = [(0.6, 0.3, 0.1), (0.2, 0.7, 0.1), (0.5, 0.4, 0.1), (0.1, 0.1, 0.8), (0.3, 0.4, 0.3)]
    words = Words.of({"yes": "yes", "no": "no", "maybe": "maybe"})
    lm = ScriptedLM(("yes", "no", "maybe", *"abcde"), lambda text: _said(said["abcde".index(text[0])]), kind="causal")
    prompts = tuple(Prompt(template=Template.parse(f"{one} {{mask}}"), words=words) for one in "abcde")
    both = Ensemble(prompts=prompts, vote=True)
    example = Example({})
    means = torch.tensor(said).log().mean(0)
    assert both.predict(lm, [example])[0].value == ("yes" if means[0] > means[1] else "no")
    shares = both.score(lm, [example])[0].exp()
    torch.testing.assert_close(shares, torch.tensor([0.4, 0.4, 0.2]), atol=1e-5, rtol=0)


def _said(shares: tuple[float, float, float]) -> dict[str, float]:
    return {word: math.log(share) for word, share in zip(("yes", "no", "maybe"), shares, strict=True)}
