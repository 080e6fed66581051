import errno
import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.artifact import prompts

from promptatlas.artifact import folder as folders
from promptatlas.artifact.load import load
from promptatlas.artifact.save import pack, save, size
from promptatlas.errors import ArtifactError
from promptatlas.parts.vectors import Vectors
from promptatlas.prompting import Prompt


def bytes_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_prompts_of_these_tests_have_every_kind_there_is() -> None:
    assert {one for prompt in prompts.every().values() for one in prompts.kinds_of(prompt)} == prompts.known()


@pytest.mark.parametrize("name", prompts.every())
def test_the_same_prompt_gives_the_same_bytes_also_when_it_was_loaded(name: str, tmp_path: Path) -> None:
    prompt = prompts.every()[name]
    first, second, third = (tmp_path / one for one in "abc")
    save(prompt, first)
    save(prompts.every()[name], second)
    save(load(first), third)
    assert bytes_in(first) == bytes_in(second) == bytes_in(third)


def test_the_order_of_labels_is_kept(tmp_path: Path) -> None:
    words = replace(prompts.bare().words, words={"z": ("good",), "a": ("bad",), "m": ("great",)}, weights=None)
    save(replace(prompts.bare(), words=words), tmp_path / "one")
    assert load(tmp_path / "one").labels == ("z", "a", "m")


def test_prompt_json_says_what_it_is(tmp_path: Path) -> None:
    save(replace(prompts.every()["vectors"], history=prompts.history()), tmp_path / "one")
    record = json.loads((tmp_path / "one" / "prompt.json").read_text())
    head = {
        "format": "promptatlas",
        "version": 1,
        "type": "prompt",
        "template": "{@soft}{text!} It was {mask}. {{電影}}",
    }
    assert {name: record[name] for name in head} == head
    assert record["parts"] == {"soft": {"kind": "vectors", "version": 1}}
    assert record["tensors"] == {"parts/soft/weight": {"dtype": "float32", "shape": [3, 32]}}
    assert record["lm"] == dict(prompts.history()[-1].lm)
    assert record["view"] == {"kind": "one", "version": 1}


def test_a_prompt_without_tensors_has_no_file_of_them(tmp_path: Path) -> None:
    save(prompts.bare(), tmp_path / "one")
    assert bytes_in(tmp_path / "one").keys() == {"prompt.json"}


def test_size_is_the_bytes_on_the_disk(tmp_path: Path) -> None:
    save(prompts.every()["vectors"], tmp_path / "one")
    assert size(tmp_path / "one") == sum(map(len, bytes_in(tmp_path / "one").values())) > 3 * 32 * 4


def test_saving_replaces_an_artifact_and_all_of_it(tmp_path: Path) -> None:
    save(prompts.every()["vectors"], tmp_path / "one")
    save(prompts.bare(), tmp_path / "one")
    assert load(tmp_path / "one") == prompts.bare()
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def test_an_empty_folder_and_missing_parents_will_do(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert load(save(prompts.bare(), tmp_path / "empty")) == prompts.bare()
    assert load(save(prompts.bare(), str(tmp_path / "a" / "b"))) == prompts.bare()


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path: Path) -> None:
    save(prompts.bare(), tmp_path / "one")
    (tmp_path / "one" / "thesis.txt").write_text("years of work")
    before = bytes_in(tmp_path / "one")
    with pytest.raises(ArtifactError) as caught:
        save(prompts.every()["vectors"], tmp_path / "one")
    assert str(caught.value) == (
        f"`{tmp_path / 'one'}` holds other things and is left as it is: `thesis.txt`\n\nhint: give a folder of its own"
    )
    assert bytes_in(tmp_path / "one") == before


def test_a_file_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("mine")
    with pytest.raises(ArtifactError, match="is a file, not a folder"):
        save(prompts.bare(), tmp_path / "one")
    assert (tmp_path / "one").read_text() == "mine"


@pytest.mark.parametrize("write", [0, 1])
@pytest.mark.parametrize("there", [True, False])
def test_a_full_disk_leaves_what_was_there(
    write: int, there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if there:
        save(prompts.bare(), tmp_path / "one")
    real, count = folders.write, iter(range(write))

    def full(path: Path, data: bytes) -> None:
        if next(count, None) is None:
            real(path, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        real(path, data)

    monkeypatch.setattr(folders, "write", full)
    with pytest.raises(ArtifactError) as caught:
        save(prompts.every()["vectors"], tmp_path / "one")
    hint = "hint: free some space, or give a folder on another disk; nothing was left behind"
    assert str(caught.value) == f"`{tmp_path / 'one'}` can't be written: No space left on device\n\n{hint}"
    assert [path.name for path in tmp_path.iterdir()] == (["one"] if there else [])
    assert not there or load(tmp_path / "one") == prompts.bare()


def test_the_tensors_given_are_copied_and_may_share_memory(tmp_path: Path) -> None:
    shared = Vectors(prompts.lm().vectors[:3])
    prompt = prompts.bare().lead(one=shared).lead(two=shared)
    assert load(save(prompt, tmp_path / "one")) == prompt


def test_what_is_not_json_is_named(tmp_path: Path) -> None:
    odd = replace(prompts.history()[0], settings={"model": object()})
    with pytest.raises(
        ArtifactError, match=r"can't be written as JSON.*object.*\n\nhint: settings hold names and values"
    ):
        save(replace(prompts.bare(), history=(odd,)), tmp_path / "one")
    assert list(tmp_path.iterdir()) == []


def test_a_figure_that_is_no_number_does_not_lose_the_prompt(tmp_path: Path) -> None:
    odd = replace(prompts.history()[0], figures={"dev": float("nan"), "loss": float("inf")})
    save(replace(prompts.bare(), history=(odd,)), tmp_path / "one")
    assert load(tmp_path / "one").history[0].figures == {"dev": "nan", "loss": "inf"}


def test_pack_names_an_ensembles_tensors_by_member() -> None:
    assert pack(prompts.every()["ensemble"]).tensors.keys() == {
        "prompts/0/parts/soft/weight",
        "prompts/1/parts/soft/weight",
    }


def test_nothing_that_is_saved_is_the_prompts_own_memory() -> None:
    prompt = prompts.every()["vectors"]
    assert isinstance(prompt, Prompt)
    pack(prompt).tensors["parts/soft/weight"].zero_()
    assert prompt.parts["soft"].tensors()["weight"].abs().sum() > 0
