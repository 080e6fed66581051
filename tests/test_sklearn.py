"""The scikit-learn face: its contract with the framework, on a tiny model; by name, on the embedded one."""

import copy
import pickle
from typing import Any

import numpy
import pytest
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline

from promptatlas.errors import DataError, NeedsError, SettingError, TemplateError
from promptatlas.methods.fine_tuning import FineTuning
from promptatlas.sklearn import PromptClassifier
from promptatlas.testing.tiny import tiny

TEXTS = [f"the {animal} sat on the hill {again}" for again in ("", "again", "twice") for animal in ("cat", "dog")]
SIDES = ["up", "down"] * 3
TEMPLATE = "{text} It was {mask}."
WORDS = {"up": "good", "down": ["bad"]}
QUICK = {"length": 2, "steps": 2, "batch": 4}


class Frame:
    """What the classifier asks of a data frame."""

    def __init__(self, rows: list[dict[str, object]]) -> None:
        self.rows, self.columns = rows, list(rows[0])

    def to_dict(self, orient: str) -> list[dict[str, object]]:
        assert orient == "records"
        return self.rows


def classifier(**settings: Any) -> PromptClassifier:
    return PromptClassifier(**{"lm": tiny("bert"), "template": TEMPLATE, "words": WORDS, "settings": QUICK, **settings})


def named(**settings: Any) -> PromptClassifier:
    return classifier(**{"lm": "pocket-masked", **settings})


@pytest.fixture(scope="module")
def fitted() -> PromptClassifier:
    return classifier().fit(TEXTS, SIDES)


def test_it_is_a_classifier_that_fits_predicts_and_scores(fitted):
    assert is_classifier(fitted)
    assert fitted.classes_.tolist() == ["down", "up"]
    chances = fitted.predict_proba(TEXTS)
    assert chances.shape == (6, 2)
    assert chances.sum(1) == pytest.approx(numpy.ones(6), abs=1e-12)
    assert fitted.predict(TEXTS).tolist() == fitted.classes_[chances.argmax(1)].tolist()
    assert fitted.score(TEXTS, SIDES) == numpy.mean(fitted.predict(TEXTS) == numpy.array(SIDES))
    assert log_loss(SIDES, chances, labels=fitted.classes_) > 0  # warns where rows don't sum to one


def test_fitting_learns():
    taught = classifier(method="pattern_tuning", settings={"steps": 40, "lr": 3e-3, "batch": 6}).fit(TEXTS, SIDES)
    assert taught.score(TEXTS, SIDES) == 1.0


def test_parameters_are_those_of_the_constructor_and_the_settings_of_the_method():
    given = classifier(seed=3)
    assert set(given.get_params(deep=False)) == {
        "lm", "template", "words", "method", "settings", "seed", "device", "dtype",
    }  # fmt: skip
    deep = given.get_params()
    assert deep["method__length"] == 2
    assert deep["method__start"] == "labels"
    assert deep["method__seed"] == 3


def test_settings_of_the_method_are_set_as_parameters():
    given = classifier()
    assert given.set_params(method__length=7, template="{text} {mask}") is given
    assert given.settings == {**QUICK, "length": 7}
    assert given.template == "{text} {mask}"
    assert QUICK["length"] == 2  # what was given is as it was
    assert given.set_params(method="fine_tuning", settings=None, method__steps=5).get_params()["method__steps"] == 5
    assert given.set_params(**given.get_params()).get_params() == given.get_params()


def test_a_parameter_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="Invalid parameter 'templat'"):
        classifier().set_params(templat="{mask}")
    with pytest.raises(SettingError, match="no setting `lenght`") as told:
        classifier().set_params(method__lenght=7)
    assert told.value.hint == "did you mean `length`?"
    with pytest.raises(SettingError, match="`length` can't be 'long'"):
        classifier().set_params(method__length="long")
    with pytest.raises(SettingError, match="there is no method `prompt_tunig`"):
        classifier(method="prompt_tunig").fit(TEXTS, SIDES)
    assert classifier(method="prompt_tunig").get_params()["method__steps"] == 2


def test_a_method_may_be_given_with_its_settings():
    given = classifier(method=FineTuning(steps=2, batch=4), settings={"steps": 3})
    assert given.get_params()["method__steps"] == 3
    assert given.get_params()["method__batch"] == 4
    given.set_params(method__batch=5, seed=8).fit(TEXTS, SIDES)
    step = given.prompt_.history[-1]
    assert step.method == "fine_tuning"
    assert [step.settings[name] for name in ("steps", "batch", "seed")] == [3, 5, 8]
    with pytest.raises(SettingError, match="`fine_tuning` has no setting `length`"):
        given.set_params(method__length=5)


def test_a_clone_has_the_parameters_and_is_not_fitted(fitted):
    copied = clone(fitted)
    assert copied.get_params() == fitted.get_params()
    assert copied.lm is fitted.lm
    assert "prompt_" not in vars(copied)
    assert clone(clone(named(seed=4))).get_params() == named(seed=4).get_params()


def test_before_fitting_nothing_is_predicted():
    for ask in (classifier().predict, classifier().predict_proba):
        with pytest.raises(NotFittedError):
            ask(TEXTS)
    with pytest.raises(NotFittedError):
        classifier().score(TEXTS, SIDES)


def test_fitting_overwrites_no_parameter():
    settings, words = dict(QUICK), dict(WORDS)
    given = classifier(settings=settings, words=words)
    before = given.get_params(deep=False)
    texts, sides = list(TEXTS), list(SIDES)
    given.fit(texts, sides)
    assert all(one is before[name] for name, one in given.get_params(deep=False).items())
    assert (settings, words, texts, sides) == (QUICK, WORDS, TEXTS, SIDES)


def test_fitting_again_begins_anew(fitted):
    twice = classifier(words=None).fit(TEXTS, ["bad", "good"] * 3)
    assert twice.classes_.tolist() == ["bad", "good"]
    again = twice.set_params(words=WORDS).fit(TEXTS, SIDES)
    assert again is twice
    assert again.classes_.tolist() == ["down", "up"]
    assert again.predict_proba(TEXTS) == pytest.approx(fitted.predict_proba(TEXTS), abs=1e-6)


def test_the_seed_decides(fitted):
    start = {**QUICK, "start": "vocabulary"}
    one, same, other = (
        classifier(settings=start, seed=seed).fit(TEXTS, SIDES).predict_proba(TEXTS) for seed in (1, 1, 2)
    )
    assert one.tolist() == same.tolist()
    assert abs(one - other).max() > 1e-4


def test_company_and_order_do_not_show(fitted):
    long = [*TEXTS, "the dog saw a boat on the lake, and the cat slept"]
    whole = fitted.predict_proba(long)
    order = [6, 2, 0, 5, 1, 4, 3]
    assert fitted.predict_proba([long[at] for at in order]) == pytest.approx(whole[order], abs=1e-5)
    assert fitted.predict_proba(long[2:4]) == pytest.approx(whole[2:4], abs=1e-5)
    assert fitted.predict_proba([]).shape == (0, 2)
    assert fitted.predict([]).shape == (0,)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([1, 0], {1: "good", 0: "bad"}),
        ([1, 0], {"1": "good", "0": "bad"}),
        ([2.0, -1.0], {2: "good", -1: "bad", 7: "hill"}),
        ([True, False], {True: "good", False: "bad"}),
        (numpy.array(["good", "bad"], dtype=object), None),
    ],
)
def test_classes_keep_their_type(labels, words):
    y = numpy.array(list(labels) * 3)
    made = classifier(words=words).fit(TEXTS, y)
    assert made.classes_.dtype == y.dtype
    assert made.classes_.tolist() == sorted(set(y.tolist()))
    assert made.predict(TEXTS).dtype == y.dtype
    assert [made.prompt_.words.word(str(one)) for one in made.classes_.tolist()] == ["bad", "good"]


def test_rows_may_be_texts_mappings_or_a_frame(fitted):
    rows = [{"text": text, "other": 3} for text in TEXTS]
    for X in (rows, Frame(rows), numpy.array(TEXTS), tuple(TEXTS)):
        made = classifier().fit(X, SIDES)
        assert made.predict_proba(X) == pytest.approx(fitted.predict_proba(TEXTS), abs=1e-6)


def test_without_a_template_every_field_stands_before_the_slot():
    assert str(classifier(template=None).fit(TEXTS, SIDES).prompt_.template) == "{@soft}{text} {mask}"
    pairs = [{"one": text, "two": "the hill"} for text in TEXTS]
    assert str(classifier(template=None).fit(pairs, SIDES).prompt_.template) == "{@soft}{one} {two} {mask}"


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        ("one text", ["up"], "X is one text, not a sequence of them"),
        ([[1.0, 2.0], [3.0, 4.0]], ["up", "down"], "X[0] is a list: rows are texts, or mappings of fields"),
        (["a", None], ["up", "down"], "X[1] is missing: rows are texts, or mappings of fields"),
        (["a", "b"], ["up", "up"], "y holds one class only, `up`"),
        ([], [], "X is empty"),
        (["a", "b"], ["up", "left"], "the class `left` has no label word"),
    ],
)
def test_what_does_not_fit_is_refused(X, y, message):
    with pytest.raises(DataError) as told:
        classifier().fit(X, y)
    assert told.value.message == message


def test_other_refusals_are_those_of_the_framework_and_of_the_library():
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        classifier().fit(TEXTS, SIDES[1:])
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        classifier().fit(TEXTS, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    with pytest.raises(TemplateError, match="`X` has no field `text`"):
        classifier().fit([{"body": text} for text in TEXTS], SIDES)
    with pytest.raises(NeedsError, match="needs a template with a slot"):
        classifier(template="{text}").fit(TEXTS, SIDES)


def test_a_pickle_keeps_the_prompt_and_the_name_of_the_model():
    made = named().fit(TEXTS, SIDES)
    kept = pickle.dumps(made)
    assert len(kept) < 100_000  # the model's file has 8.8 MB
    back = pickle.loads(kept)
    assert "lm_" not in vars(back)
    assert back.get_params() == made.get_params()
    assert back.classes_.tolist() == made.classes_.tolist()
    assert back.prompt_ == made.prompt_
    assert back.predict_proba(TEXTS) == pytest.approx(made.predict_proba(TEXTS), abs=1e-6)
    assert copy.deepcopy(made).predict(TEXTS).tolist() == made.predict(TEXTS).tolist()
    assert pickle.loads(pickle.dumps(named())).get_params() == named().get_params()


def test_a_loaded_model_can_not_be_pickled(fitted):
    with pytest.raises(SettingError) as told:
        pickle.dumps(fitted)
    assert str(told.value) == (
        "this classifier can't be pickled: a pickle keeps its language model's name, and `lm` is a loaded one\n\n"
        "hint: give it by name or folder: PromptClassifier(lm='tiny-bert')"
    )


def test_a_grid_is_searched_over_the_length():
    search = GridSearchCV(classifier(), {"method__length": [2, 3], "method__lr": [0.01]}, cv=3, error_score="raise")
    search.fit(TEXTS, SIDES)
    assert len(search.cv_results_["params"]) == 2
    best = search.best_params_["method__length"]
    assert best in (2, 3)
    assert search.best_estimator_.prompt_.parts["soft"].tensors()["weight"].shape == (best, 32)
    assert search.predict(TEXTS).shape == (6,)


def test_a_grid_is_searched_over_methods():
    grid = [{"method": ["prompt_tuning"], "method__length": [2]}, {"method": ["fine_tuning"], "method__pool": ["mean"]}]
    base = classifier(settings={"steps": 1})
    search = GridSearchCV(base, grid, cv=3, error_score="raise").fit(TEXTS, SIDES)
    assert [one["method"] for one in search.cv_results_["params"]] == ["prompt_tuning", "fine_tuning"]
    assert base.settings == {"steps": 1}


def test_it_stands_in_pipelines_and_cross_validation():
    assert cross_val_score(classifier(), TEXTS, SIDES, cv=3, error_score="raise").shape == (3,)
    line = make_pipeline(classifier()).set_params(promptclassifier__method__length=4).fit(TEXTS, SIDES)
    assert line.named_steps["promptclassifier"].prompt_.history[-1].settings["length"] == 4
