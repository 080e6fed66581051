from dataclasses import replace
from math import exp, inf, log

import pytest
import torch
from tests.score.asking import fold, null_mass
from torch import Tensor

from promptatlas.data.example import Example
from promptatlas.errors import ModelError, SettingError, TemplateError
from promptatlas.lm.scripted import ScriptedLM
from promptatlas.score.calibrate import PMI, Divide, Null
from promptatlas.score.words import Words
from promptatlas.text.template import Shown, Template


def logs(*rows: tuple[float, ...]) -> Tensor:
    """[rows, labels] of log mass, in float64."""
    return torch.tensor(rows, dtype=torch.float64).log()


def one_null(*prior: float) -> Tensor:
    return logs(prior)[None]


def close(found: Tensor, *expected: float) -> None:
    assert found.tolist() == pytest.approx(expected, abs=1e-6)


# The worked examples of arXiv:2102.09690's method, by hand


def test_dividing_and_subtracting() -> None:
    p, null = logs((0.7, 0.3)), one_null(0.8, 0.2)
    found = Divide().apply(p, null)[0].exp()
    close(found, 0.368421, 0.631579)
    close(found * (0.875 + 1.5), 0.875, 1.5)  # as they are before they are brought to sum to one
    close(Divide(mode="identity").apply(p, null)[0], -0.1, 0.1)


def test_placeholders_are_averaged_before_they_are_normalised() -> None:
    null = logs((0.09, 0.01), (0.0006, 0.0004))[None]
    divide = Divide(blanks=("N/A", ""))
    close(divide.priors(null)[0], 0.897030, 0.102970)  # normalised first it would be .75, .25
    found = divide.apply(logs((0.6, 0.4)), null)[0].exp()
    close(found, *(q / (0.668874 + 3.884615) for q in (0.668874, 3.884615)))


def test_the_two_modes_disagree() -> None:
    p, null = logs((0.02, 0.62, 0.36)), one_null(0.01, 0.59, 0.40)
    divided = Divide().apply(p, null)[0].exp()
    close(divided, *(q / (2 + 1.050847 + 0.9) for q in (2, 1.050847, 0.9)))
    subtracted = Divide(mode="identity").apply(p, null)[0]
    close(subtracted, 0.01, 0.03, -0.04)
    assert (divided.argmax().item(), subtracted.argmax().item()) == (0, 1)
    assert (Divide().proper, Divide(mode="identity").proper) == (True, False)


def test_the_least_likely_placeholder_counts_under_min() -> None:
    null = logs((0.09, 0.01), (0.0006, 0.0004))[None]
    close(Divide(reduce="min").priors(null)[0], 0.6, 0.4)


# Properties


def test_an_input_without_content_comes_out_uniform() -> None:
    null = one_null(0.2, 0.03, 0.6)
    close(Divide(blanks=("N/A",)).apply(null[0], null)[0].exp(), 1 / 3, 1 / 3, 1 / 3)


def test_an_unbiased_prompt_changes_nothing() -> None:
    p = logs((0.5, 0.2, 0.1), (0.1, 0.2, 0.3))
    found = Divide().apply(p, one_null(0.1, 0.1, 0.1).expand(2, -1, -1))
    torch.testing.assert_close(found, p.log_softmax(-1))


@pytest.mark.parametrize("mode", ["diag", "identity"])
def test_the_scale_of_the_placeholders_does_not_matter(mode: str) -> None:
    p, null = logs((0.5, 0.2, 0.1)), logs((0.09, 0.01, 0.2), (0.0006, 0.0004, 0.0001))[None]
    divide = Divide(mode=mode)  # type: ignore[arg-type]
    torch.testing.assert_close(divide.apply(p, null + log(1e-6)), divide.apply(p, null))
    torch.testing.assert_close(divide.priors(null - 500.0), divide.priors(null))  # far below what float64 can hold


@pytest.mark.parametrize("positive", [0.55, 0.79, 0.81, 0.95])
def test_two_labels_move_the_threshold(positive: float) -> None:
    found = Divide().apply(logs((1 - positive, positive)), one_null(0.2, 0.8))
    assert (found.argmax().item() == 1) == (positive > 0.8)


def test_the_order_of_labels_does_not_matter() -> None:
    p, null, order = logs((0.5, 0.2, 0.1)), logs((0.3, 0.1, 0.2), (0.1, 0.2, 0.05))[None], [2, 0, 1]
    found = Divide().apply(p[:, order], null[..., order])
    torch.testing.assert_close(found, Divide().apply(p, null)[:, order])


def test_float32_in_and_out() -> None:
    found = Divide().apply(logs((0.7, 0.3)).float(), one_null(0.8, 0.2).float())
    assert found.dtype == torch.float32
    close(found[0].exp(), 0.368421, 0.631579)


def test_a_stored_prior_does_the_same() -> None:
    null = logs((0.09, 0.01), (0.0006, 0.0004))
    fitted = Divide(labels=("a", "b")).fitted(null)
    assert fitted.prior == pytest.approx((0.897030, 0.102970), abs=1e-6)
    assert fitted.entropy == pytest.approx(-sum(p * log(p) for p in (0.897030, 0.102970)), abs=1e-5)
    assert Divide().entropy is None
    p = logs((0.6, 0.4), (0.2, 0.1))
    torch.testing.assert_close(fitted.apply(p, None), Divide().apply(p, null.expand(2, -1, -1)))
    assert fitted.nulls(Example({"text": "a"}), Template.parse("{text} {mask}")) == ()


# What is asked of the model


def test_blanks_stand_in_every_field_of_text() -> None:
    template = Template.parse("{text} {mask}")
    example = Example({"text": "a", "other": "b", "n": 3}, "label", "key")
    asked = Divide(blanks=("N/A", "")).nulls(example, template)
    assert asked == tuple(Null(template, Example({"text": one, "other": one, "n": 3})) for one in ("N/A", ""))
    assert all(null.demos for null in asked)


def test_the_domain_is_shown_without_demonstrations_and_with_the_example() -> None:
    example = Example({"text": "a"}, "label", "key")
    (asked,) = PMI(domain=Template.parse("the answer is {mask}")).nulls(example, Template.parse("{text} {mask}"))
    assert asked == Null(Template.parse("the answer is {mask}"), example, demos=False)


def test_another_order_of_demonstrations_is_another_prior() -> None:
    def answer(text: str) -> dict[str, float]:  # what was said last is said again
        says = [word for word in text.split() if word in ("good", "bad")]
        return {"good": 0.0, "bad": 0.0, says[-1]: 1.5}

    lm = ScriptedLM(["a", "b", "good", "bad", "N/A", ":"], answer, kind="causal")
    words, shown = (
        Words.of({"negative": "bad", "positive": "good"}),
        [Shown({"text": "a"}, "good"), Shown({"text": "b"}, "bad")],
    )
    divide = Divide(blanks=("N/A", ""))
    nulls = divide.nulls(Example({"text": "a"}), Template.parse("{text} : {mask}"))
    priors = [divide.priors(null_mass(lm, words, nulls, demos=order))[0] for order in (shown, shown[::-1])]
    one = 1 / (1 + exp(1.5))
    close(priors[0], 1 - one, one)
    close(priors[1], one, 1 - one)


def test_calibrated_through_a_model() -> None:
    def answer(text: str) -> dict[str, float]:
        bias = {"good": log(0.08), "bad": log(0.02), "rest": log(0.9)}
        return bias if "N/A" in text else {"good": log(0.35), "bad": log(0.15), "rest": log(0.5)}

    lm = ScriptedLM(["x", "good", "bad", "rest", "N/A"], answer)
    words, template = Words.of({"positive": "good", "negative": "bad"}), "{text} {mask}"
    divide = Divide(blanks=("N/A",))
    example = Example({"text": "x"})
    null = null_mass(lm, words, divide.nulls(example, Template.parse(template)))
    found = divide.apply(fold(lm, words, template, [example], mass=True), null)
    close(found[0].exp(), 0.368421, 0.631579)


# What can't be calibrated


@pytest.mark.parametrize("labels", [("world", "sports"), ()])
def test_a_label_too_unlikely_to_divide_by_is_named(labels: tuple[str, ...]) -> None:
    name = "`sports`" if labels else "2"
    p, null = logs((0.7, 0.3)), one_null(1.0, 1e-13)
    for call in (lambda: Divide(labels=labels).apply(p, null), lambda: Divide(labels=labels).fitted(null[0])):
        with pytest.raises(SettingError) as error:
            call()
        assert str(error.value) == (
            f"label {name} has a probability of 1.0e-13 without content, too little to divide by\n\n"
            'hint: give it a likelier word, choose other blanks, or subtract with mode="identity"'
        )
    close(Divide(mode="identity").apply(p, null)[0], -0.3, 0.3)


def test_one_label_has_nothing_to_calibrate() -> None:
    with pytest.raises(SettingError, match="one label can't be calibrated"):
        Divide().apply(logs((0.7,)), one_null(0.2))


def test_an_example_without_any_probability_is_refused() -> None:
    with pytest.raises(ModelError, match="no label any probability in example 2"):
        Divide().apply(torch.tensor([[0.0, 0.0], [-inf, -inf]]), torch.zeros(2, 1, 2))
    with pytest.raises(ModelError, match="no label any probability without content"):
        Divide().apply(torch.zeros(1, 2), torch.full((1, 1, 2), -inf))


def test_settings_that_do_not_go_together() -> None:
    for settings, message in [
        ({"blanks": ()}, "there is no placeholder"),
        ({"prior": (0.5, 0.6)}, "is no distribution"),
        ({"prior": (1.5, -0.5)}, "is no distribution"),
        ({"prior": (1.0, 0.0)}, "too little to divide by"),
    ]:
        with pytest.raises(SettingError, match=message):
            replace(Divide(), **settings)
    with pytest.raises(SettingError, match="the calibration has no prior"):
        Divide().apply(torch.zeros(1, 2), None)
    with pytest.raises(SettingError, match="the prior is of 2 labels, and the scores are of 3"):
        Divide(prior=(0.5, 0.5)).apply(torch.zeros(1, 3), None)


# Domain-conditional PMI, arXiv:2104.08315


def domain(text: str = "so {mask}") -> PMI:
    return PMI(domain=Template.parse(text))


def test_pmi_divides_by_the_domain() -> None:
    found = domain().apply(logs((0.30, 0.20, 0.05)), one_null(0.60, 0.10, 0.05))
    close(found[0], -0.693147, 0.693147, 0.0)
    close(found[0].softmax(-1), 0.142857, 0.571429, 0.285714)
    assert (logs((0.30, 0.20, 0.05)).argmax().item(), found.argmax().item()) == (0, 1)
    assert not domain().proper


def test_pmi_of_answers_of_different_lengths() -> None:
    answers = {"A": (-1.0, -1.0), "B": (-1.8,)}
    sums = torch.tensor([[sum(some) for some in answers.values()]], dtype=torch.float64)
    close(domain().apply(sums, torch.tensor([[[-3.0, -1.0]]], dtype=torch.float64))[0], 1.0, -0.8)


def test_what_the_domain_alone_says_scores_nothing() -> None:
    lm = ScriptedLM(["so", "yes", "no", "rest"], lambda text: {"yes": 0.3, "no": 1.7, "rest": -1.0}, kind="causal")
    words, example = Words.of({"a": "yes", "b": "no yes"}), Example()
    null = null_mass(lm, words, domain().nulls(example, Template.parse("so {mask}")))
    assert domain().apply(fold(lm, words, "so {mask}", [example], mass=True), null).tolist() == [[0.0, 0.0]]


def test_a_constant_of_a_label_in_both_goes() -> None:
    mass, null, constant = logs((0.3, 0.2)), one_null(0.6, 0.1), torch.tensor([0.4, -2.0])
    torch.testing.assert_close(domain().apply(mass + constant, null + constant), domain().apply(mass, null))
    assert (mass + constant).argmax() == (domain().apply(mass, one_null(0.3, 0.3)) + constant).argmax() == 0


def test_a_domain_that_favours_none_changes_no_answer() -> None:
    mass = logs((0.3, 0.2, 0.5), (0.9, 0.05, 0.01))
    found = domain().apply(mass, one_null(0.1, 0.1, 0.1).expand(2, -1, -1))
    assert found.argmax(-1).tolist() == mass.argmax(-1).tolist()


def test_equal_answers_tie_and_the_first_is_first() -> None:
    found = domain().apply(logs((0.2, 0.3, 0.3)), one_null(0.2, 0.1, 0.1))
    assert found[0, 1] == found[0, 2]
    assert found.argmax().item() == 1


def test_pmi_of_the_impossible() -> None:
    found = domain().apply(torch.tensor([[-inf, -1.0]]), torch.tensor([[[-1.0, -1.0]]]))
    assert found.tolist() == [[-inf, 0.0]]
    with pytest.raises(ModelError, match=r"label 1 is impossible under the domain `so \{mask\}`"):
        domain().apply(torch.tensor([[-inf, -1.0]]), torch.tensor([[[-inf, -1.0]]]))
    with pytest.raises(SettingError, match="the mass under the domain is missing"):
        domain().apply(torch.zeros(1, 2), None)
    with pytest.raises(TemplateError, match="the domain `so` has no slot"):
        domain("so")


@pytest.mark.parametrize(
    "calibration",
    [
        Divide(),
        Divide(labels=("a", "b"), blanks=("",), mode="identity", reduce="min", prior=(0.3, 0.7)),
        domain(" so: {mask}"),
    ],
)
def test_calibrations_are_saved(calibration: Divide | PMI) -> None:
    assert type(calibration).build(calibration.config(), calibration.tensors()) == calibration
