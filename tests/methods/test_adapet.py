"""ADAPET: the sheet's oracles and invariants."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy
import pytest
import torch

from promptatlas.data.example import Example
from promptatlas.data.task import Task
from promptatlas.data.view import Choices
from promptatlas.errors import DataError, NeedsError, SettingError, WordError
from promptatlas.lm.local import LocalLM
from promptatlas.lm.scripted import ScriptedLM
from promptatlas.methods.adapet import Adapet
from promptatlas.parts.vectors import Vectors
from promptatlas.parts.weights import full
from promptatlas.prompting import Ensemble, Prompt
from promptatlas.score.own import Own
from promptatlas.score.words import Words
from promptatlas.testing.tasks import TEMPLATE, toy, toy_prompt
from promptatlas.testing.tiny import names, tiny
from promptatlas.text.template import Template
from promptatlas.train.decoupled import AnyOf, Conditioned, Decoupled, decoupled, masked
from promptatlas.train.event import log1mexp, surprise
from promptatlas.train.loss import Batch, generator, nll

TASK = toy()
BATCH = Batch(TASK.train[:6], tuple(range(6)), 5, generator(0), seed=3)


def spoken_with(**words: str) -> Prompt:
    return Prompt(template=TEMPLATE, words=Words.of(words))


def split(batch: Batch) -> list[Batch]:
    """The same batch in two pieces."""
    return [Batch(batch.examples[a:b], batch.indices[a:b], batch.step, generator(a), batch.seed)
            for a, b in ((0, 2), (2, 6))]  # fmt: skip


def vocabulary(lm: LocalLM, ids: tuple[int, ...]) -> torch.Tensor:
    """Log-probabilities at every position of a row: Float[tokens vocab]."""
    with torch.no_grad():
        return torch.as_tensor(lm.model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1))


def test_worked_examples() -> None:
    yes, no = torch.tensor([0.6]).log(), torch.tensor([0.1]).log()
    assert float(decoupled([[yes], [no]], 0)) == pytest.approx(0.308093, abs=1e-6)
    assert float(-torch.tensor([0.6, 0.1]).log().log_softmax(-1)[0]) == pytest.approx(0.154151, abs=1e-6)
    places = torch.tensor([0.5, 0.2]).log()
    assert float(surprise(places, True).mean()) == pytest.approx(1.151293, abs=1e-6)
    assert float(surprise(places, False).mean()) == pytest.approx(0.458145, abs=1e-6)


def test_the_absence_of_a_word_is_exact_however_likely_it_is() -> None:
    logp = numpy.array([-1e-6, -1e-3, -0.5, -0.6931, -0.6932, -1.0, -10.0, -30.0, -80.0], dtype=numpy.float32)
    wide = logp.astype(numpy.longdouble)
    wanted = numpy.where(wide > -0.1, numpy.log(-numpy.expm1(wide)), numpy.log1p(-numpy.exp(wide)))
    torch.testing.assert_close(
        log1mexp(torch.tensor(logp)).double(), torch.tensor(wanted.astype(float)), rtol=1e-6, atol=0
    )


def test_it_has_a_gradient_wherever_a_probability_may_be() -> None:
    logp = torch.tensor([0.0, -1e-38, -1e-7, -0.693147, -5.0, -200.0, -math.inf], requires_grad=True)
    values = log1mexp(logp)
    values.sum().backward()
    assert logp.grad is not None
    assert values[0] == -100.0
    assert bool(values.isfinite().all())
    assert bool(logp.grad.isfinite().all())
    assert logp.grad[4].item() == pytest.approx(-math.exp(-5) / (1 - math.exp(-5)))


def test_it_is_no_loss_just_where_the_right_word_is_all_there_is() -> None:
    sure = [
        decoupled([[torch.tensor([p]).log()], [torch.tensor([(1 - p) / 2]).log()]], 0) for p in (0.5, 0.9, 0.999999)
    ]
    assert all(a > b for a, b in pairwise(sure))
    assert float(sure[-1]) == pytest.approx(0, abs=1e-5)


def test_where_the_labels_are_all_there_is_it_is_what_pet_has() -> None:
    """Of two labels whose probabilities sum to one, both terms are -log q."""
    both = torch.tensor([0.7, 0.3]).log()
    assert float(decoupled([[both[:1]], [both[1:]]], 0)) == pytest.approx(-math.log(0.7))


def test_more_logit_for_all_labels_moves_it_and_not_pet() -> None:
    logits = torch.tensor([1.0, 0.5, 0.2, -1.0])  # the first two are the labels'
    moved = logits + torch.tensor([2.0, 2.0, 0.0, 0.0])
    ours = [decoupled([[one.log_softmax(-1)[:1]], [one.log_softmax(-1)[1:2]]], 0) for one in (logits, moved)]
    theirs = [-one[:2].log_softmax(-1)[0] for one in (logits, moved)]
    assert float((ours[0] - ours[1]).abs()) > 0.05
    torch.testing.assert_close(theirs[0], theirs[1])


def test_it_moves_words_that_are_no_label_s() -> None:
    """Through the output's rows of words that stand in no text."""
    lm = tiny("modernbert")
    (other,) = lm.word("sports", TEMPLATE.before())
    moved = {}
    for loss in (nll, Decoupled()):
        prompt = toy_prompt().plus(weights=full(lm))
        loss(prompt, lm, BATCH).sum().backward()
        named = dict(zip(lm.parameters, prompt.parts["weights"].parameters(), strict=True))  # type: ignore[attr-defined]
        bias = next(one for name, one in named.items() if name.startswith("decoder"))  # a bias for each word
        moved[loss] = 0.0 if bias.grad is None else float(bias.grad[other].abs())
    assert moved[nll] == 0
    assert moved[Decoupled()] > 0


@pytest.mark.parametrize("name", names("masked"))
def test_the_label_loss_by_hand(name: str) -> None:
    lm, prompt = tiny(name), toy_prompt()
    found = Decoupled()(prompt, lm, BATCH)
    mass = prompt.mass(lm, BATCH.examples).detach().double().exp().numpy()
    gold = numpy.array([[label == one.target for label in prompt.labels] for one in BATCH.examples])
    wanted = numpy.where(gold, -numpy.log(mass), -numpy.log(1 - mass)).mean(1)
    torch.testing.assert_close(found.detach().double(), torch.tensor(wanted), atol=1e-5, rtol=0)


def test_words_of_several_tokens_by_hand() -> None:
    """As many masks as the longest word has tokens; the mean over a word's own; what all words share is left out."""
    lm = tiny("roberta")
    words = {"pets": "very good fun", "weather": "very bad"}
    ids = {label: lm.word(word, TEMPLATE.before()) for label, word in words.items()}
    same = [n for n, (one, other) in enumerate(zip(*ids.values(), strict=False)) if one == other]
    assert same
    assert len(ids["pets"]) > len(ids["weather"])
    prompt, width = spoken_with(**words), max(map(len, ids.values()))
    found = Decoupled()(prompt, lm, BATCH)
    lines, _ = prompt.lines(lm, BATCH.examples)
    for at, (example, row) in enumerate(
        zip(BATCH.examples, prompt.reader(lm).wide(lines, [width] * 6, [0] * 6), strict=True)
    ):
        assert row.ids.count(lm.mask) == width  # type: ignore[arg-type]
        logp = vocabulary(lm, row.ids)[list(row.slots[0].positions)]
        losses = []
        for label, tokens in ids.items():
            q = torch.stack([logp[n, token] for n, token in enumerate(tokens) if n not in same]).exp()
            losses.append(
                torch.nn.functional.binary_cross_entropy(q, torch.full_like(q, float(label == example.target)))
            )
        torch.testing.assert_close(found[at].detach(), torch.stack(losses).mean(), atol=1e-5, rtol=0)


def test_several_words_of_a_label_are_events_of_their_own() -> None:
    lm = tiny("bert")
    words = Words.of({"pets": ["good", "great", "good"], "weather": "bad"})
    found = Decoupled()(Prompt(template=TEMPLATE, words=words), lm, BATCH)
    alone = [Decoupled()(spoken_with(pets=word, weather="bad"), lm, BATCH) for word in ("good", "great")]
    torch.testing.assert_close(found, (alone[0] + alone[1]) / 2, atol=1e-5, rtol=0)


def test_the_order_of_labels_does_not_matter() -> None:
    lm = tiny("bert")
    one, other = spoken_with(pets="good", weather="bad"), spoken_with(weather="bad", pets="good")
    torch.testing.assert_close(Decoupled()(one, lm, BATCH), Decoupled()(other, lm, BATCH), atol=1e-6, rtol=0)


def test_choices_are_read_each_in_its_own_row() -> None:
    lm = tiny("bert")
    asked = Prompt(template=Template.parse("{choice} ? {text} {mask} ."), words=Own(), view=Choices())
    example = Example({"text": "the cat", "choices": ("good movie", "bad", "worst film ever")}, "bad")
    found = Decoupled()(asked, lm, Batch((example,), (0,), 0, generator(0)))
    rows = asked.view.rows(example)
    ids = [lm.word(choice, asked.template.before()) for choice in ("good movie", "bad", "worst film ever")]
    losses = []
    for row, tokens in zip(rows, ids, strict=True):
        (encoded,) = asked.reader(lm).wide(
            asked.lines(lm, [example])[0][rows.index(row) :][:1], [max(map(len, ids))], [0]
        )
        logp = vocabulary(lm, encoded.ids)[list(encoded.slots[0].positions)]
        q = torch.stack([logp[n, token] for n, token in enumerate(tokens)]).exp()
        right = torch.full_like(q, float(row.fields["choice"] == "bad"))
        losses.append(torch.nn.functional.binary_cross_entropy(q, right))
    torch.testing.assert_close(found[0].detach(), torch.stack(losses).mean(), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("length", "share", "count"), [(100, 0.9, 8), (256, 0.99, 25), (20, 0.99, 1), (3, 0.0, 1)])
def test_how_many_tokens_are_masked(length: int, share: float, count: int) -> None:
    assert masked(length, 0.105, share) == count


def expected(
    prompt: Prompt, lm: LocalLM, batch: Batch, told: Conditioned
) -> tuple[list[float], list[set[int]], list[bool]]:
    """The second loss by the same draws: of each example its value, what is masked, and whether the label is right."""
    values, places, rights = [], [], []
    for at, example in enumerate(batch.examples):
        draw = batch.own(at)
        label = int(torch.randint(2, (), generator=draw))
        (word,) = prompt.words.tokens(lm, prompt.template)[prompt.labels[label]]  # type: ignore[attr-defined]
        (row,) = prompt.reader(lm).wide(prompt.lines(lm, [example])[0], [len(word)], [0])
        ids = list(row.ids)
        for position, token in zip(row.slots[0].positions, word, strict=True):
            ids[position] = token
        count = max(int(float(torch.rand((), generator=draw)) * told.rate * len(ids)), 2) - 1
        hidden = torch.randperm(len(ids), generator=draw)[:count].tolist()
        logp = vocabulary(lm, tuple(lm.mask if i in hidden else one for i, one in enumerate(ids)))  # type: ignore[arg-type]
        p = torch.stack([logp[i, ids[i]] for i in hidden]).exp()
        right = prompt.labels[label] == example.target
        values.append(float(torch.nn.functional.binary_cross_entropy(p, torch.full_like(p, float(right)))))
        places.append(set(hidden))
        rights.append(right)
    return values, places, rights


@pytest.mark.parametrize("name", ["bert", "roberta", "albert"])
def test_the_loss_beside_a_label_by_hand(name: str) -> None:
    """The mask set, the label put in, and each token's probability, of the model itself."""
    lm, prompt, told = tiny(name), spoken_with(pets="very good", weather="bad"), Conditioned(0.9)
    found = told(prompt, lm, BATCH)
    values, places, rights = expected(prompt, lm, BATCH, told)
    assert found.tolist() == pytest.approx(values, abs=1e-5)
    assert set(rights) == {True, False}, "both kinds of label"
    assert len(set(map(len, places))) > 1, "the number of masks is drawn too"


def test_beside_the_right_label_it_is_a_masked_language_model_s() -> None:
    logp = torch.tensor([-0.1, -2.0, -7.0])
    assert float(surprise(logp, True).mean()) == pytest.approx(float(-logp.mean()))


def test_which_tokens_may_be_masked() -> None:
    lm, prompt = tiny("bert"), toy_prompt()
    seen: dict[bool, set[str]] = {True: set(), False: set()}
    for marks, kinds in seen.items():
        for step in range(12):
            batch = replace(BATCH, step=step)
            for at, example in enumerate(batch.examples):
                (row,) = prompt.reader(lm).encode(prompt.lines(lm, [example])[0])
                hidden = Conditioned(0.9, marks=marks)._hidden(row, batch.own(at))
                kinds |= {span.kind for span in row.spans for at in hidden if span.start <= at < span.end}
    assert seen == {True: {"mark", "field", "text", "slot"}, False: {"field", "text"}}


@pytest.mark.parametrize(("balanced", "share"), [(False, 0.25), (True, 0.5)])
def test_how_often_the_right_label_is_put_in(balanced: bool, share: float) -> None:
    told = Conditioned(balanced=balanced)
    draws = [told._label(4, 2, replace(BATCH, step=step).own(0)) for step in range(2000)]
    assert draws.count(2) / 2000 == pytest.approx(share, abs=0.04)
    wrong = (1 - share) / 3
    assert [draws.count(label) / 2000 for label in (0, 1, 3)] == pytest.approx([wrong] * 3, abs=0.04)


def test_vectors_are_never_masked() -> None:
    lm = tiny("bert")
    prompt = toy_prompt().lead(soft=Vectors(torch.zeros(30, 32)))
    (row,) = prompt.reader(lm).encode(prompt.lines(lm, TASK.train[:1])[0])
    (soft,) = (span for span in row.spans if span.kind == "part")
    for step in range(30):
        hidden = Conditioned(1.0)._hidden(row, replace(BATCH, step=step).own(0))
        assert not set(hidden) & set(range(soft.start, soft.end))
        assert len(hidden) < len(row) - 30


def test_a_row_of_one_token_counts_nothing() -> None:
    lm = ScriptedLM(["yes", "no"], lambda text: {"yes": 0.0, "no": 0.0})
    prompt = Prompt(template=Template.parse("{text}{mask}"), words=Words.of({"a": "yes", "b": "no"}))
    batch = Batch((Example({"text": ""}, "a"),), (0,), 0, generator(0))
    with pytest.warns(UserWarning, match="an example of one token or none has nothing to recover, and counts 0"):
        assert Conditioned()(prompt, lm, batch).tolist() == [0.0]


@pytest.mark.parametrize("loss", [Decoupled(), Conditioned(0.5), AnyOf(Conditioned(0.5), (TEMPLATE, TEMPLATE))])
def test_splitting_a_batch_changes_nothing(loss: Decoupled | Conditioned | AnyOf) -> None:
    lm, prompt = tiny("bert"), toy_prompt()
    whole = loss(prompt, lm, BATCH)
    torch.testing.assert_close(torch.cat([loss(prompt, lm, one) for one in split(BATCH)]), whole, atol=1e-5, rtol=0)


def test_templates_are_drawn_by_the_step_and_for_each_term() -> None:
    lm, prompt = tiny("bert"), toy_prompt()
    templates = (TEMPLATE, Template.parse("{mask} : {text}"))
    plain = [Decoupled()(replace(prompt, template=one), lm, BATCH).tolist() for one in templates]
    drawn = [[AnyOf(Decoupled(), templates)(prompt, lm, replace(BATCH, step=step, seed=seed)).tolist()
              for step in range(12)] for seed in (1, 2)]  # fmt: skip
    which = [[plain.index(one) for one in some] for some in drawn]
    assert all(set(some) == {0, 1} for some in which)
    assert which[0] != which[1]


def test_a_fit_moves_every_weight_and_leaves_the_model() -> None:
    lm = tiny("bert")
    before = {name: one.clone() for name, one in lm.parameters.items()}
    tuned = Adapet(steps=3).fit(lm, TASK, toy_prompt())
    assert isinstance(tuned, Prompt)
    assert tuned.words == toy_prompt().words
    moved = tuned.parts["weights"].tensors()
    assert all(not torch.equal(moved[name], one) for name, one in before.items())
    assert all(torch.equal(lm.parameters[name], one) for name, one in before.items())


def test_a_term_of_no_weight_is_not_there() -> None:
    lm = tiny("bert")
    assert Adapet(steps=2, conditioned=0.0).fit(lm, TASK, toy_prompt()) == Adapet(
        steps=2, conditioned=0.0, rate=0.9
    ).fit(lm, TASK, toy_prompt())
    assert Adapet(steps=2, decoupled=0.0).fit(lm, TASK, toy_prompt()) != Adapet(steps=2, decoupled=0.0, rate=0.9).fit(
        lm, TASK, toy_prompt()
    )


def test_several_templates_answer_as_a_mixture() -> None:
    lm = tiny("bert")
    mixture = Adapet(steps=3, templates=("{mask} : {text}", "{mask} {other}")).fit
    with pytest.warns(UserWarning, match="`{mask} {other}` is left out"):
        made = mixture(lm, TASK, toy_prompt())
    assert isinstance(made, Ensemble)
    assert [str(one.template) for one in made.prompts] == [str(TEMPLATE), "{mask} : {text}"]
    q = torch.stack([one.mass(lm, TASK.test).exp() for one in made.prompts]).mean(0)
    torch.testing.assert_close(made.score(lm, TASK.test), q.log().log_softmax(-1), atol=1e-5, rtol=0)


def test_it_trains_on_choices() -> None:
    lm = tiny("bert")
    examples = tuple(
        Example({"text": one.fields["text"], "choices": ("a good cat", "bad rain")},
                "a good cat" if one.target == "pets" else "bad rain", one.key)
        for one in TASK.train
    )  # fmt: skip
    task = Task(name="choose", kind="choice", fields=("text", "choices"), train=examples)
    start = Prompt(template=Template.parse("{text} It was {mask}"), words=Own(), view=Choices())
    tuned = Adapet(steps=12, lr=3e-3, templates=("{mask} : {text}",)).fit(lm, task, start)
    assert isinstance(tuned, Ensemble)
    batch = Batch(examples, tuple(range(len(examples))), 0, generator(0))
    with torch.no_grad():
        before, after = (float(Decoupled()(one, lm, batch).mean()) for one in (start, tuned.prompts[0]))
    assert after < 0.9 * before
    assert {one.value for one in tuned.predict(lm, examples)} <= {"a good cat", "bad rain"}


def test_learns_the_toy_task() -> None:
    lm, task = tiny("modernbert"), toy(train=64, seed=1)
    tuned = Adapet(steps=60, batch=12, lr=3e-3).fit(lm, task, toy_prompt())
    answers = tuned.predict(lm, task.test)
    assert sum(one.value == example.target for one, example in zip(answers, task.test, strict=True)) >= 29


def fit(prompt: Prompt, **settings: object) -> object:
    return Adapet(steps=1, **settings).fit(tiny("roberta"), TASK, prompt)  # type: ignore[arg-type]


def test_says_what_is_wrong() -> None:
    with pytest.raises(NeedsError, match="`adapet` needs a masked model, and `tiny-gpt2` is causal"):
        Adapet().fit(tiny("gpt2"), TASK, toy_prompt())
    with pytest.raises(NeedsError, match="`adapet` needs a template with a slot"):
        fit(replace(toy_prompt(), template=Template.parse("{text}")))
    with pytest.raises(SettingError) as caught:
        fit(toy_prompt(), decoupled=0.0, conditioned=0.0)
    assert str(caught.value) == (
        "`decoupled` is 0 and `conditioned` 0: nothing is left to train by\n\nhint: one is above 0, and neither below"
    )
    with pytest.raises(SettingError, match=r"`rate` is 1\.5\n\nhint: it is from 0 to 1"):
        fit(toy_prompt(), rate=1.5)
    with pytest.raises(SettingError) as caught:
        fit(spoken_with(pets="good"))
    assert str(caught.value) == "there is one answer only\n\nhint: a loss needs another one to tell it from"
    with pytest.raises(DataError, match="has the target 'weather', which is no label"):
        fit(spoken_with(pets="good", water="bad"))
    with pytest.raises(
        WordError, match=r"the answer `\s?unbelievable` is 2 tokens in tiny-roberta, and 1 are the most"
    ):
        fit(spoken_with(pets="unbelievable", weather="bad"), longest=1)


def test_labels_that_begin_alike_are_refused_unless_all_do() -> None:
    lm = tiny("bert")
    with pytest.raises(WordError) as caught:
        Decoupled()(spoken_with(pets="very good", weather="very bad", none="fine"), lm, BATCH)
    assert str(caught.value) == (
        "words of the labels `pets` and `weather` begin with the same token in tiny-bert: `v`\n\n"
        "hint: it can't be right and wrong at once: choose another word for one of them"
    )
    with pytest.raises(WordError) as caught:
        Decoupled()(spoken_with(pets="very good", weather="very"), lm, BATCH)
    assert str(caught.value) == (
        "all words begin as `very` of label `weather` does\n\nhint: choose another word for it"
    )
