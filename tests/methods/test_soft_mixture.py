"""Mixtures of soft prompts: the sheet's invariants."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from promptatlas.artifact.load import load
from promptatlas.artifact.save import save
from promptatlas.data.example import Example
from promptatlas.errors import CannotAttach, NeedsError, SettingError, TemplateError
from promptatlas.lm.ask import Hidden, Job
from promptatlas.methods.contextual_calibration import ContextualCalibration
from promptatlas.methods.soft_mixture import SoftMixture
from promptatlas.parts.perturb import Perturbation, modules, still
from promptatlas.parts.vectors import vocabulary
from promptatlas.prompting import Ensemble, Prompt
from promptatlas.prompting.likelihood import likelihood
from promptatlas.testing import check_part
from promptatlas.testing.tasks import toy, toy_prompt
from promptatlas.testing.tiny import tiny
from promptatlas.text.template import Template
from promptatlas.train.em import Shared, answered
from promptatlas.train.loop import Term, tune
from promptatlas.train.optim import Optim

TASK = toy()
OTHERS = ("{text} so {mask} !", "The movie was {mask} : {text}")
HARD = [toy_prompt(), *(replace(toy_prompt(), template=Template.parse(one)) for one in OTHERS)]


def mean_of(prompts: list[Prompt]) -> torch.Tensor:
    mass = torch.stack([one.mass(tiny("bert"), TASK.test).exp() for one in prompts]).mean(0)
    return (mass / mass.sum(-1, keepdim=True)).detach()


def test_before_training_it_is_the_mean_of_the_templates_probabilities() -> None:
    lm = tiny("bert")
    mixture = SoftMixture(templates=OTHERS, random=0, epochs=1, patience=1, lr=1e-12).fit(lm, TASK, toy_prompt())
    kept = replace(mixture, weights=(1.0, 1.0, 1.0))
    torch.testing.assert_close(kept.score(lm, TASK.test).exp().detach(), mean_of(HARD), atol=1e-5, rtol=0)


def test_a_mixture_is_of_probabilities_and_a_prompt_may_be_split() -> None:
    lm = tiny("bert", scale=6.0)
    whole = Ensemble(prompts=tuple(HARD[:2]), weights=(0.6, 0.4), mix=True)
    split = Ensemble(prompts=(HARD[0], *HARD[:2]), weights=(0.35, 0.25, 0.4), mix=True)
    torch.testing.assert_close(whole.score(lm, TASK.test), split.score(lm, TASK.test), atol=1e-5, rtol=0)
    product = replace(whole, mix=False).score(lm, TASK.test)
    assert not torch.allclose(whole.score(lm, TASK.test), product, atol=1e-4)


def test_one_template_is_plain_tuning() -> None:
    lm = tiny("bert")
    mixture = SoftMixture(random=0, epochs=2, layers=0).fit(lm, TASK, toy_prompt())
    assert mixture.weights == (1.0,)
    (one,) = mixture.prompts
    torch.testing.assert_close(mixture.score(lm, TASK.test), one.score(lm, TASK.test), atol=1e-5, rtol=0)


def test_only_what_is_added_and_the_weights_move() -> None:
    lm = tiny("bert")
    before = {name: one.clone() for name, one in lm.parameters.items()}
    mixture = SoftMixture(templates=OTHERS, random=1, epochs=3, patience=3, lr=0.05).fit(lm, TASK, toy_prompt())
    assert len(mixture.prompts) == 4
    assert sum(mixture.weights) == pytest.approx(1)
    assert all(torch.equal(one, before[name]) for name, one in lm.parameters.items())
    still_there = lm.vectors[list(lm.tokens("It was"))]
    assert torch.equal(mixture.prompts[0].parts["mix_0"].weight.detach(), still_there)
    assert mixture.history[-1].figures["effective_prompts"] <= 4 + 1e-6


@pytest.mark.slow
def test_it_learns_on_a_model_that_hears_its_input() -> None:
    lm, task = tiny("bert", scale=6.0), toy(train=64, seed=1)
    task = replace(task, dev=task.train)
    start, end = (
        SoftMixture(random=1, lr=lr, batch=8, epochs=10, patience=10).fit(lm, task, toy_prompt()).history[-1].figures
        for lr in (1e-12, 0.03)
    )
    assert end["dev_accuracy"] > start["dev_accuracy"]
    assert end["loss"] < start["loss"] - 2


def perturbed(layers: int) -> tuple[Prompt, Perturbation]:
    """Vectors in the middle of the text, and something added to them."""
    lm = tiny("bert")
    zeros = still(lm, 3, layers=layers)
    draw = torch.Generator().manual_seed(0)
    part = Perturbation(*(torch.randn(one.shape, generator=draw) * 0.3 for one in zeros.tensors().values()))
    template = Template.parse("{text}{@soft} It was {mask}")
    return replace(toy_prompt(), template=template).plus(soft=vocabulary(lm, 3, seed=0)), part


def test_training_makes_the_answers_likelier() -> None:
    lm = tiny("bert")
    prompt, part = perturbed(2)
    start = prompt.plus(perturb=part)
    terms = [Term(TASK.train, Shared(torch.ones(len(TASK.train))))]
    end = tune(start, lm, terms, optim={"perturb": Optim(lr=0.1)}, steps=30, seed=0)
    before, after = (float(-answered([one], lm, TASK.train).mean()) for one in (start, end))
    assert after < before - 0.05


def test_states_of_the_vectors_alone_are_added_to_by_hand() -> None:
    """Layer by layer, with the model's own modules."""
    lm = tiny("bert")
    prompt, part = perturbed(2)
    whole = prompt.plus(perturb=part)
    lines, _ = prompt.lines(lm, TASK.test[:1])
    (row,) = prompt.reader(lm).encode(lines)
    (span,) = (one for one in row.spans if one.kind == "part")
    with torch.no_grad():
        bert = lm.model.bert
        words = bert.embeddings.word_embeddings(torch.tensor([row.ids]))
        words[0, span.start : span.end] = prompt.parts["soft"].weight
        states = bert.embeddings(inputs_embeds=words)
        states[0, span.start : span.end] += part.inputs
        for layer, change in zip(bert.encoder.layer, part.layers, strict=True):
            out = layer(states)
            states = (out[0] if isinstance(out, tuple) else out).clone()
            states[0, span.start : span.end] += change
        ((found,),) = lm.read([Job(row, (Hidden(),), whole.parts)])
    torch.testing.assert_close(found.values[0], states[0, row.slots[0].positions[0]], atol=1e-5, rtol=0)


def test_rows_do_not_notice_their_batch_under_a_perturbation() -> None:
    lm = tiny("bert")
    prompt, part = perturbed(2)
    texts = [Example({"text": text}) for text in ("cat", "the old grey cat sat on the mat while", "", "rain over it")]
    whole = prompt.plus(perturb=part)
    alone = torch.cat([whole.score(lm, [one]) for one in texts])
    torch.testing.assert_close(whole.score(lm, texts), alone, atol=1e-5, rtol=0)
    assert not torch.allclose(alone, prompt.score(lm, texts), atol=1e-3)


@pytest.mark.parametrize("name", ["bert", "albert", "deberta-v2", "modernbert"])
def test_a_perturbation_keeps_the_contract_of_parts(name: str) -> None:
    check_part(lambda lm: still(lm, 3, pull=0.1), tiny(name), beside=lambda lm: vocabulary(lm, 3, seed=0))


def test_the_pull_is_on_all_that_is_added() -> None:
    part = Perturbation(torch.full((2, 3), 2.0), torch.full((1, 2, 3), 1.0), pull=0.5)
    assert float(part.penalty().detach()) == pytest.approx(0.5 * (6 * 4 + 6))
    assert Perturbation.build(part.config(), part.tensors()).pull == 0.5


def test_a_perturbation_fits_its_own_model_alone() -> None:
    with pytest.raises(
        CannotAttach, match=r"a perturbation of shapes \(2, 16\) and \(1, 2, 32\) doesn't fit tiny-bert"
    ):
        still(tiny("albert"), 2).after(tiny("bert"))
    with pytest.raises(CannotAttach, match="the embeddings of tiny-gpt2 are no module of their own"):
        modules(tiny("gpt2"))


def test_weights_heed_how_likely_a_prompt_finds_the_fields() -> None:
    lm, examples = tiny("bert", scale=3.0), TASK.test[:4]
    mixture = Ensemble(prompts=tuple(HARD), weights=(0.5, 0.3, 0.2), mix=True, heed=2.0)
    own = torch.stack([likelihood(one, lm, examples) for one in HARD], -1)
    by_hand = (torch.tensor([0.5, 0.3, 0.2]).log() + own / 2.0).log_softmax(-1)
    torch.testing.assert_close(mixture.shares(lm, examples), by_hand)
    assert not torch.allclose(by_hand[0], by_hand[1], atol=1e-3), "every example has weights of its own"
    mass = torch.stack([one.mass(lm, examples) for one in HARD], 1)
    mixed = (mass.exp() * by_hand.exp()[..., None]).sum(1)
    torch.testing.assert_close(
        mixture.score(lm, examples).exp(), mixed / mixed.sum(-1, keepdim=True), atol=1e-5, rtol=0
    )


def test_the_likelihood_of_fields_by_hand() -> None:
    lm = tiny("bert")
    (row,) = toy_prompt().reader(lm).encode(toy_prompt().lines(lm, [Example({"text": "the cat"})])[0])
    ids = torch.tensor([row.ids])
    own = ids[0, 1:3].clone()
    ids[0, 1:3] = lm.mask
    with torch.no_grad():
        logp = lm.model(input_ids=ids).logits[0].log_softmax(-1)
    by_hand = logp[1, own[0]] + logp[2, own[1]]
    found = likelihood(toy_prompt(), lm, [Example({"text": "the cat"})])
    torch.testing.assert_close(found.detach(), by_hand[None], atol=1e-5, rtol=0)
    with pytest.raises(NeedsError, match="has no mask to hide an example's fields behind"):
        likelihood(toy_prompt(), tiny("gpt2"), TASK.test[:1])


def test_a_mixture_is_saved_whole(tmp_path: Path) -> None:
    lm = tiny("bert")
    mixture = SoftMixture(random=1, epochs=1, heed=3.0).fit(lm, TASK, toy_prompt())
    again = load(save(mixture, tmp_path / "mixture"))
    assert isinstance(again, Ensemble)
    assert (again.mix, again.heed, again.weights) == (True, 3.0, mixture.weights)
    torch.testing.assert_close(again.score(lm, TASK.test), mixture.score(lm, TASK.test), atol=1e-6, rtol=0)


def test_what_cannot_be_mixed_is_told() -> None:
    lm = tiny("bert")
    calibrated = ContextualCalibration().fit(lm, TASK, toy_prompt())
    with pytest.raises(SettingError, match="prompts that are calibrated, or read a row a choice"):
        Ensemble(prompts=(calibrated,), mix=True)
    with pytest.raises(SettingError, match="an ensemble can't both vote and mix"):
        Ensemble(prompts=(toy_prompt(),), mix=True, vote=True)
    with pytest.raises(SettingError, match=r"`heed` is 0.0, mix=True"):
        Ensemble(prompts=(toy_prompt(),), mix=True, heed=0.0)
    with pytest.raises(SettingError, match="only a mixture has a mass"):
        Ensemble(prompts=(toy_prompt(),)).mass(lm, TASK.test)
    with pytest.raises(TemplateError, match="has neither words of its own nor vectors"):
        SoftMixture().fit(lm, TASK, replace(toy_prompt(), template=Template.parse("{text} {mask}")))
