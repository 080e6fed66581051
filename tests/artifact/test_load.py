import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.artifact import prompts

from promptatlas.artifact.load import load
from promptatlas.artifact.save import save
from promptatlas.data.example import Example
from promptatlas.errors import ArtifactError
from promptatlas.prompting import Ensemble, Prompt

CHOICES = [Example({"text": "the cat sat on", "options": ("hill", "mat")}, "hill", "1")]
TEXTS = [Example({"text": "the dog ran"}, "up", "q"), Example({"text": "the cat sat"}, "down", "r")]


@pytest.mark.parametrize("name", prompts.every())
def test_what_is_loaded_is_what_was_saved(name: str, tmp_path: Path) -> None:
    prompt = prompts.every()[name]
    again = load(save(prompt, tmp_path / "one"))
    assert type(again) is type(prompt)
    assert again == prompt
    assert again.history == prompt.history
    assert again.labels == prompt.labels


@pytest.mark.parametrize("name", [name for name in prompts.every() if name not in ("calibrated", "tags", "chains")])
def test_what_is_loaded_scores_the_same_bits(name: str, tmp_path: Path) -> None:
    prompt, lm = prompts.every()[name], prompts.lm()
    again = load(save(prompt, tmp_path / "one"))
    asked = CHOICES if name == "choices" else TEXTS
    with torch.no_grad():
        assert torch.equal(again.score(lm, asked), prompt.score(lm, asked))


def test_a_part_that_is_loaded_can_be_trained(tmp_path: Path) -> None:
    again = load(save(prompts.every()["vectors"], tmp_path / "one"))
    assert again.trainable().keys() == {"soft"}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return save(prompts.every()["vectors"], tmp_path / "one")


def change(folder: Path, how: Callable[[dict[str, Any]], object]) -> None:
    record = json.loads((folder / "prompt.json").read_text())
    how(record)
    (folder / "prompt.json").write_text(json.dumps(record))


def error(folder: Path) -> str:
    with pytest.raises(ArtifactError) as caught:
        load(folder)
    return str(caught.value)


def test_a_path_where_nothing_is(tmp_path: Path) -> None:
    path = tmp_path / "none"
    assert error(path) == f"`{path}` is no saved prompt: it does not exist\n\nhint: give the folder `save` wrote"


def test_a_folder_that_is_no_artifact(tmp_path: Path) -> None:
    assert error(tmp_path).startswith(f"`{tmp_path}` is no saved prompt: it has no `prompt.json`")


def test_a_file_that_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("{}")
    assert "it is not a folder" in error(tmp_path / "file")


@pytest.mark.parametrize("size", [0, 10, -3])
def test_json_that_is_cut(size: int, saved: Path) -> None:
    path = saved / "prompt.json"
    path.write_bytes(path.read_bytes()[:size])
    assert error(saved).startswith(f"`{path}` is not whole: ")


def test_json_that_is_not_text(saved: Path) -> None:
    (saved / "prompt.json").write_bytes(b"\xff\xfe\x00")
    assert "is not whole" in error(saved)


@pytest.mark.parametrize("text", ["[]", "{}", '{"format": "other"}', "1"])
def test_json_of_something_else(text: str, saved: Path) -> None:
    (saved / "prompt.json").write_text(text)
    assert error(saved).startswith(f"`{saved / 'prompt.json'}` is not a promptatlas prompt")


@pytest.mark.parametrize("size", [0, 5, 100, -1])
def test_tensors_that_are_cut(size: int, saved: Path) -> None:
    path = saved / "parts.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    assert error(saved).startswith(f"`{path}` is not whole: ")


def test_tensors_that_are_gone(saved: Path) -> None:
    (saved / "parts.safetensors").unlink()
    assert error(saved) == (
        f"`{saved}` has no `parts.safetensors`, and its prompt has learned parts\n\nhint: copy the whole folder"
    )


def test_a_tensor_that_is_missing(saved: Path) -> None:
    save_file({"parts/other/weight": torch.ones(2)}, saved / "parts.safetensors")
    path = saved / "parts.safetensors"
    assert error(saved) == f"`{path}` has no tensor `parts/soft/weight`\n\nhint: copy the whole folder"


def test_a_tensor_of_another_shape(saved: Path) -> None:
    path = saved / "parts.safetensors"
    save_file({name: value[:2] for name, value in load_file(path).items()}, path)
    assert error(saved).startswith(f"`parts/soft/weight` in `{path}` has the shape [2, 32], not [3, 32]")


def test_a_newer_version(saved: Path) -> None:
    change(saved, lambda record: record.update(version=2))
    path = saved / "prompt.json"
    assert error(saved) == f"`{path}` is of version 2; up to 1 is known here\n\nhint: install a newer promptatlas"


def test_a_newer_version_of_a_part(saved: Path) -> None:
    change(saved, lambda record: record["parts"]["soft"].update(version=7))
    assert error(saved) == (
        "the kind `vectors` of parts is of version 7; up to 1 is known here\n\nhint: install a newer promptatlas"
    )


def test_a_kind_that_is_not_known_names_those_that_are_near(saved: Path) -> None:
    change(saved, lambda record: record["parts"]["soft"].update(kind="prefx"))
    assert error(saved) == "`prefx` is no kind of parts that is known here\n\nhint: did you mean `prefix`?"


def test_a_kind_is_never_imported_by_what_the_file_says(saved: Path) -> None:
    change(saved, lambda record: record["words"].update(kind="os:system"))
    assert error(saved).startswith("`os:system` is no kind of words that is known here")


def test_a_type_that_is_not_known(saved: Path) -> None:
    change(saved, lambda record: record.update(type="forest"))
    assert error(saved).startswith(f"`{saved}` holds a `forest`, not a prompt or an ensemble")


@pytest.mark.parametrize("name", ["type", "template", "words", "demos", "between", "calibration", "view", "history"])
def test_a_field_that_is_missing(name: str, saved: Path) -> None:
    change(saved, lambda record: record.pop(name))
    assert error(saved).startswith(f"`{saved / 'prompt.json'}` has no '{name}'")


def test_a_field_of_another_shape(saved: Path) -> None:
    change(saved, lambda record: record.update(parts=[1]))
    assert error(saved).startswith(f"`{saved / 'prompt.json'}` is not as it was written: ")


def test_a_component_that_cannot_be_rebuilt(saved: Path) -> None:
    change(saved, lambda record: record["words"].pop("words"))
    assert error(saved).startswith("the kind `words` of words can't be rebuilt: ")


def test_a_template_that_cannot_be_read(saved: Path) -> None:
    change(saved, lambda record: record.update(template="{text"))
    assert error(saved).startswith("the saved template can't be read: ")


def test_an_ensembles_parts_are_told_apart(tmp_path: Path) -> None:
    again = load(save(prompts.every()["ensemble"], tmp_path / "one"))
    assert isinstance(again, Ensemble)
    assert [one.parts["soft"].tensors()["weight"].shape[0] for one in again.prompts] == [3, 1]
    assert again.weights == (0.25, 0.75)
    assert again.vote


def test_a_changed_byte_is_noticed(tmp_path: Path) -> None:
    save(next(one for one in prompts.every().values() if isinstance(one, Prompt) and one.trainable()), tmp_path / "p")
    parts = tmp_path / "p" / "parts.safetensors"
    whole = bytearray(parts.read_bytes())
    whole[-3] ^= 0x40
    parts.write_bytes(bytes(whole))
    with pytest.raises(ArtifactError, match="is not as it was written: its bytes have changed"):
        load(tmp_path / "p")
