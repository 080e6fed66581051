"""The scikit-learn face of a method: a classifier of texts."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d

from promptatlas import registry
from promptatlas.artifact.load import load as load_prompt
from promptatlas.artifact.save import FILES
from promptatlas.artifact.save import save as save_prompt
from promptatlas.data.task import Task
from promptatlas.errors import DataError, SettingError, near
from promptatlas.lm.lm import LM
from promptatlas.lm.named import named
from promptatlas.prompting import Ensemble, Prompt
from promptatlas.prompting.make import check_fit
from promptatlas.prompting.make import prompt as prompt_of
from promptatlas.text.template import Template
from promptatlas.train.needs import Method

NESTED = "method__"


@runtime_checkable
class Table(Protocol):
    """A data frame: rows with named columns."""

    columns: Any

    def to_dict(self, orient: str) -> Any:
        """With "records", a mapping a row."""


class PromptClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn carries no types
    """Classifies texts by a prompt that a method learns.

    A setting of the method, say `length`, is the parameter `method__length`, to search over with `GridSearchCV`. X is a
    sequence of texts, a sequence of mappings from field to value, or a data frame whose columns are the fields. y holds
    strings or numbers; `classes_` keeps their type.

    A pickle keeps the learned prompt and the model's name; the model is loaded when it is next needed.

    Args:
        lm: the language model: an embedded name, a folder, a hub name, or a loaded one, which clones then share.
        template: with a slot for the answer, `"{text} It was {mask}."`; else every field, then the slot.
        words: class -> its label word, or several; each class's own name if not given.
        method: its name, or a method with its settings.
        settings: of the method, where they differ from its own; `set_params(method__length=5)` puts one here.
        seed: of the method, whatever its settings say; None leaves it to them.
        device: where a model given by name is loaded.
        dtype: as what.

    Attributes:
        classes_: the classes, sorted.
        prompt_: what the method learned.
        lm_: the language model.
    """

    classes_: NDArray[Any]
    prompt_: Prompt | Ensemble
    lm_: LM

    def __init__(
        self,
        lm: str | LM = "pocket-masked",
        template: str | Template | None = None,
        words: Mapping[Any, str | Sequence[str]] | None = None,
        method: str | Method = "prompt_tuning",
        settings: Mapping[str, Any] | None = None,
        seed: int | None = None,
        device: str | None = None,
        dtype: str = "float32",
    ) -> None:
        self.lm = lm
        self.template = template
        self.words = words
        self.method = method
        self.settings = settings
        self.seed = seed
        self.device = device
        self.dtype = dtype

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters by name; `deep` adds every setting of the method, as `method__<setting>`."""
        own: dict[str, Any] = BaseEstimator.get_params(self, deep=False)
        if not deep:
            return own
        try:
            made: Any = self._method()
        except SettingError:  # said when it is used; until then it may be set right
            return own | {f"{NESTED}{name}": value for name, value in (self.settings or {}).items()}
        return own | {f"{NESTED}{one.name}": getattr(made, one.name) for one in fields(made)}

    def set_params(self, **params: Any) -> "PromptClassifier":
        """Set parameters by name, `method__<setting>` among them.

        Raises:
            SettingError: the method has no such setting, or it can't take the value.
            ValueError: the classifier has no such parameter.
        """
        nested = {name.removeprefix(NESTED): value for name, value in params.items() if name.startswith(NESTED)}
        BaseEstimator.set_params(self, **{name: value for name, value in params.items() if not name.startswith(NESTED)})
        if nested:
            self.settings = {**(self.settings or {}), **nested}
            self._method()
        return self

    def fit(self, X: Any, y: Any) -> "PromptClassifier":
        """Learn a prompt from texts and their classes.

        Raises:
            DataError: rows that are no texts or mappings, one class only, or a class without a word.
            NeedsError: the method can't do with this model or template.
        """
        method, items, y = self._method(), _items(X), column_or_1d(y)
        check_consistent_length(items, y)
        if not items:
            raise DataError("X is empty", hint="give examples of two classes or more")
        check_classification_targets(y)
        classes, codes = numpy.unique(y, return_inverse=True)
        if len(classes) < 2:
            raise DataError(f"y holds one class only, {_quoted(classes)}", hint="give examples of two or more")
        prompt, names = self._start(items[0], classes), _names(classes)
        known = tuple(items[0]) if isinstance(items[0], Mapping) else (prompt.template.only_field(),)
        examples = tuple(
            replace(prompt.examples(item)[0], target=names[code], key=str(at))
            for at, (item, code) in enumerate(zip(items, codes.tolist(), strict=True))
        )
        task = Task(name="X", kind="label", fields=known, labels=tuple(names), train=examples)
        check_fit(prompt, task)
        lm = self._load()
        learned = method.fit(lm, task, prompt)
        self.classes_, self.prompt_, self.lm_ = classes, learned, lm
        return self

    def predict_proba(self, X: Any) -> NDArray[numpy.float64]:
        """The probability of each class, in the order of `classes_`: [rows, classes]."""
        check_is_fitted(self)
        if "lm_" not in vars(self):  # back from a pickle
            self.lm_ = self._load()
        examples = self.prompt_.examples(_items(X))
        answers = self.prompt_.predict(self.lm_, examples)
        names = _names(self.classes_)
        found = numpy.array([[one.probabilities[name] for name in names] for one in answers], dtype=numpy.float64)
        found = found.reshape(-1, len(names))
        found /= found.sum(1, keepdims=True)  # float32 sums to one, but not as nearly as scikit-learn wants it
        return found

    def predict(self, X: Any) -> NDArray[Any]:
        """The likeliest class of each row."""
        places = self.predict_proba(X).argmax(1)
        likeliest: NDArray[Any] = self.classes_[places]
        return likeliest

    def __sklearn_clone__(self) -> "PromptClassifier":
        """The same parameters, not fitted; a loaded model is shared, not copied."""
        own = self.get_params(deep=False)
        copied = type(self)(
            **{name: value if name == "lm" else clone(value, safe=False) for name, value in own.items()}
        )
        if "_metadata_request" in vars(self):
            copied._metadata_request = clone(self._metadata_request)
        return copied

    def __getstate__(self) -> dict[str, Any]:
        if not isinstance(self.lm, str):
            raise SettingError(
                "this classifier can't be pickled: a pickle keeps its language model's name, and `lm` is a loaded one",
                hint=f"give it by name or folder: PromptClassifier(lm={self.lm.name!r})",
            )
        state = {name: value for name, value in vars(self).items() if name != "lm_"}
        return state | {"prompt_": _to_files(self.prompt_)} if "prompt_" in state else state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if "prompt_" in state:
            self.prompt_ = _from_files(state["prompt_"])

    def _load(self) -> LM:
        return named(self.lm, self.device, self.dtype) if isinstance(self.lm, str) else self.lm

    def _method(self) -> Method:
        """The method under all settings. Raises SettingError."""
        settings = dict(self.settings or {})
        if isinstance(self.method, str):
            if self.seed is not None and registry.has(self.method, "seed"):
                settings["seed"] = self.seed
            return registry.method(self.method, **settings)
        base: Any = self.method
        known = [one.name for one in fields(base)]
        if self.seed is not None and "seed" in known:
            settings["seed"] = self.seed
        for name in settings:
            if name not in known:
                raise SettingError(f"`{base.name}` has no setting `{name}`", hint=near(name, known))
        changed: Method = replace(base, **settings)
        return changed

    def _start(self, first: str | Mapping[str, object], classes: NDArray[Any]) -> Prompt:
        """What the method starts from."""
        template = self.template
        if template is None:
            shown = ["text"] if isinstance(first, str) else list(first)
            template = " ".join([*(f"{{{field}}}" for field in shown), "{mask}"])
        names = _names(classes)
        words = names if self.words is None else [_word(self.words, one) for one in classes.tolist()]
        return prompt_of(template, dict(zip(names, words, strict=True)))


def _names(classes: NDArray[Any]) -> list[str]:
    """Classes as labels."""
    return [str(one) for one in classes.tolist()]


def _quoted(values: Any) -> str:
    return ", ".join(f"`{one}`" for one in values)


def _word(words: Mapping[Any, str | Sequence[str]], label: Any) -> str | Sequence[str]:
    """A class's words, keyed by it or by its name."""
    for key in (label, str(label)):
        if key in words:
            return words[key]
    raise DataError(f"the class `{label}` has no label word", hint=f"`words` has some for {_quoted(words)}")


def _items(X: Any) -> list[str | dict[str, object]]:
    """Rows as texts, or as fields by name."""
    if isinstance(X, str | bytes | Mapping):
        raise DataError("X is one text, not a sequence of them", hint="put it in a list")
    items: list[str | dict[str, object]] = []
    for at, row in enumerate(X.to_dict("records") if isinstance(X, Table) else X):
        if not isinstance(row, str | Mapping):
            what = "is missing" if row is None else f"is a {type(row).__name__}"
            raise DataError(f"X[{at}] {what}: rows are texts, or mappings of fields", hint="X takes text, not features")
        items.append(str(row) if isinstance(row, str) else {str(name): value for name, value in row.items()})
    return items


def _to_files(prompt: Prompt | Ensemble) -> dict[str, bytes]:
    """A saved prompt, file by file."""
    with tempfile.TemporaryDirectory() as folder:
        saved = save_prompt(prompt, Path(folder) / "prompt")
        return {path.name: path.read_bytes() for path in sorted(saved.iterdir()) if path.name in FILES}


def _from_files(files: Mapping[str, bytes]) -> Prompt | Ensemble:
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        return load_prompt(folder)
