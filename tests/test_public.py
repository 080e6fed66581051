"""The public names: all there, each what it says, and free until used."""

import subprocess
import sys
from importlib.metadata import version

import pytest

import promptatlas
from promptatlas.errors import PromptAtlasError, TemplateError

HEAVY = {"torch", "transformers", "numpy", "sklearn", "matplotlib", "typer", "rich"}
LISTED = [
    "load",
    "remote",
    "task",
    "prompt",
    "method",
    "save",
    "open",
    "Prompt",
    "Ensemble",
    "Task",
    "Example",
    "Template",
    "Words",
    "Run",
    "Candidate",
    "Selection",
    "select",
    "Decode",
    "PromptClassifier",
    "errors",
    "PromptAtlasError",
    "__version__",
]


def imported_by(code: str) -> set[str]:
    report = f"{code}\nimport sys; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_an_import_costs_nothing() -> None:
    assert not imported_by("import promptatlas; dir(promptatlas); promptatlas.errors; promptatlas.__version__") & HEAVY


def test_a_name_costs_what_it_needs() -> None:
    assert "torch" in imported_by("import promptatlas; promptatlas.Prompt")
    assert "torch" not in imported_by("import promptatlas; promptatlas.Template, promptatlas.Example")


@pytest.mark.parametrize("name", LISTED)
def test_a_name_is_public(name: str) -> None:
    assert name in promptatlas.__all__
    assert name in dir(promptatlas)


@pytest.mark.parametrize("name", promptatlas.__all__)
def test_a_public_name_is_there(name: str) -> None:
    assert getattr(promptatlas, name) is getattr(promptatlas, name)
    if name.endswith("Error"):
        assert issubclass(getattr(promptatlas, name), PromptAtlasError)


def test_the_version_is_that_of_the_package() -> None:
    assert promptatlas.__version__ == version("promptatlas")


def test_another_name_is_an_attribute_error_that_says_what_there_is() -> None:
    with pytest.raises(AttributeError, match=r"has no attribute `promt`; it has .*, prompt, "):
        promptatlas.promt  # noqa: B018
    assert not hasattr(promptatlas, "__wrapped__")


def test_names_survive_the_modules_they_stand_beside() -> None:
    import promptatlas.lm.load  # noqa: PLC0415
    import promptatlas.methods.prompt_tuning  # noqa: PLC0415
    import promptatlas.prompting  # noqa: PLC0415

    assert callable(promptatlas.load)
    assert callable(promptatlas.method)
    assert callable(promptatlas.prompt)


def test_the_names_work_together(tmp_path) -> None:
    task = promptatlas.task("reviews")
    prompt = promptatlas.prompt(task.template, task.words)
    assert prompt.labels == task.labels
    promptatlas.save(prompt, tmp_path / "prompt")
    assert promptatlas.open(tmp_path / "prompt") == prompt
    assert promptatlas.method("prompt_tuning", length=7).length == 7
    with pytest.raises(TemplateError):
        promptatlas.prompt("{text")
