"""Prompt learning for pretrained language models: a method takes a prompt and returns a prompt.

    lm = promptatlas.load("pocket-masked")
    task = promptatlas.task("reviews").few(16, seed=0)
    prompt = promptatlas.prompt("{text} It was {mask}.", {"positive": "great", "negative": "terrible"})
    prompt = promptatlas.method("prompt_tuning", length=20).fit(lm, task, prompt)
    prompt.predict(lm, ["a gorgeous, witty film"])

Names are resolved on first use, so that importing this costs no torch.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from promptatlas import errors
from promptatlas.errors import (
    ArtifactError,
    CannotAttach,
    DataError,
    LoadError,
    ModelError,
    NeedsError,
    PromptAtlasError,
    RemoteError,
    SettingError,
    TemplateError,
    TooLong,
    WordError,
)

if TYPE_CHECKING:
    from promptatlas.artifact.load import load as open
    from promptatlas.artifact.save import save
    from promptatlas.data.example import Example
    from promptatlas.data.read import read_task as task
    from promptatlas.data.task import Task
    from promptatlas.lm.ask import Decode
    from promptatlas.lm.load import load
    from promptatlas.lm.remote.make import remote
    from promptatlas.prompting import Ensemble, Prompt
    from promptatlas.prompting.make import prompt
    from promptatlas.registry import method
    from promptatlas.score.words import Words
    from promptatlas.sklearn import PromptClassifier
    from promptatlas.text.template import Template
    from promptatlas.train.candidate import Candidate
    from promptatlas.train.folds import Selection
    from promptatlas.train.run import Run
    from promptatlas.train.select import select

    __version__: str

__all__ = [
    "ArtifactError",
    "Candidate",
    "CannotAttach",
    "DataError",
    "Decode",
    "Ensemble",
    "Example",
    "LoadError",
    "ModelError",
    "NeedsError",
    "Prompt",
    "PromptAtlasError",
    "PromptClassifier",
    "RemoteError",
    "Run",
    "Selection",
    "SettingError",
    "Task",
    "Template",
    "TemplateError",
    "TooLong",
    "WordError",
    "Words",
    "__version__",
    "errors",
    "load",
    "method",
    "open",
    "prompt",
    "remote",
    "save",
    "select",
    "task",
]

_LAZY = {
    "Candidate": "promptatlas.train.candidate:Candidate",
    "Decode": "promptatlas.lm.ask:Decode",
    "Ensemble": "promptatlas.prompting:Ensemble",
    "Example": "promptatlas.data.example:Example",
    "Prompt": "promptatlas.prompting:Prompt",
    "PromptClassifier": "promptatlas.sklearn:PromptClassifier",
    "Run": "promptatlas.train.run:Run",
    "Selection": "promptatlas.train.folds:Selection",
    "Task": "promptatlas.data.task:Task",
    "Template": "promptatlas.text.template:Template",
    "Words": "promptatlas.score.words:Words",
    "load": "promptatlas.lm.load:load",
    "method": "promptatlas.registry:method",
    "open": "promptatlas.artifact.load:load",
    "prompt": "promptatlas.prompting.make:prompt",
    "remote": "promptatlas.lm.remote.make:remote",
    "save": "promptatlas.artifact.save:save",
    "select": "promptatlas.train.select:select",
    "task": "promptatlas.data.read:read_task",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        value: Any = _version()
    elif name in _LAZY:
        module, _, attribute = _LAZY[name].partition(":")
        value = getattr(import_module(module), attribute)
    else:
        raise AttributeError(f"module `promptatlas` has no attribute `{name}`; it has {', '.join(sorted(__all__))}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _version() -> str:
    try:
        return version("promptatlas")
    except PackageNotFoundError:  # read from a folder that was never installed
        return "0+unknown"
