from collections.abc import Iterator
from pathlib import Path

import jaxtyping
import pytest

from promptatlas.errors import SettingError
from promptatlas.train.pretrain import Pretrain, text_length
from promptatlas.train.recipe import DEFAULT, Recipe, read

RECIPES = Path(__file__).parents[2] / "recipes"
OWN = {"pocket-causal": "causal", "pocket-masked": "masked", "pocket-masked-zh": "masked", "pocket-seq2seq": "seq2seq"}


def written(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text, "utf-8")
    return path


def refused(folder: Path, text: str) -> SettingError:
    with pytest.raises(SettingError) as caught:
        read(written(folder, text))
    assert str(folder / "recipe.toml") in caught.value.message
    return caught.value


@pytest.mark.parametrize("name", OWN)
def test_the_recipes_of_the_project_are_read(name: str) -> None:
    found = read(RECIPES / f"{name}.toml")
    assert found.kind == OWN[name]
    assert found.tokenizer["window"] == found.objectives[0].length
    assert text_length(found.objectives[0]) < found.objectives[0].length
    assert found.optim.schedule == "linear"
    assert found.taught((), found.kind, found.objectives[0].length) == found


def test_a_recipe_says_what_it_does_not_leave_to_defaults(tmp_path: Path) -> None:
    found = read(
        written(
            tmp_path,
            '[model]\ntype = "t5"\n[[objective]]\nobjective = "span"\nshare = 0.25\n[[objective]]\n'
            'objective = "prefix"\n[train]\nbatch = 3\nlr = 0.5\nclip = 2.0\n',
        )
    )
    assert [(one.objective, one.share) for one in found.objectives] == [("span", 0.25), ("prefix", 1.0)]
    assert (found.batch, found.optim.lr, found.optim.clip, found.optim.warmup) == (3, 0.5, 2.0, 0.03)
    assert found.model == {"type": "t5"}
    assert (found.tokenizer, found.every, found.compile) == ({}, 500, False)


def test_an_unknown_table_is_refused(tmp_path: Path) -> None:
    error = refused(tmp_path, "[tokeniser]\nvocabulary = 3\n")
    assert error.message.endswith("has `[tokeniser]`")
    assert error.hint == "did you mean `tokenizer`?"


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("[train]\nlearning = 1\n", "has `learning` under `[train]`", "warmup"),
        ("[train]\nwarmpu = 0.1\n", "has `warmpu` under `[train]`", "did you mean `warmup`?"),
        ('[[objective]]\nobjective = "masked"\nrates = 0.1\n', "has `rates` under `[objective]`", "`rate`"),
        ('[tokenizer]\ntype = "bytes"\nvocabluary = 9\n', "has `vocabluary` under `[tokenizer]`", "`vocabulary`"),
    ],
)
def test_an_unknown_key_is_refused(text: str, said: str, hint: str, tmp_path: Path) -> None:
    error = refused(tmp_path, text)
    assert error.message.endswith(said)
    assert hint in str(error.hint)


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Without the tests' own check of types, which would stop a wrong value before the library says what is wrong."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.usefixtures("unchecked")
def test_an_unknown_objective_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError) as caught:
        read(written(tmp_path, '[[objective]]\nobjective = "mask"\n'))
    assert str(caught.value) == "there is no objective `mask`\n\nhint: did you mean `masked`?"


@pytest.mark.usefixtures("unchecked")
def test_an_objective_written_as_one_table_is_told_how_it_is_written(tmp_path: Path) -> None:
    assert "[[objective]]" in str(refused(tmp_path, '[objective]\nobjective = "masked"\n'))


def test_objectives_of_different_kinds_of_model_are_refused(tmp_path: Path) -> None:
    error = refused(tmp_path, '[[objective]]\nobjective = "masked"\n[[objective]]\nobjective = "causal"\n')
    assert error.hint == "one model has one kind"


@pytest.mark.parametrize("text", ["[model\n", "a = \n"])
def test_a_file_that_is_no_toml_is_refused(text: str, tmp_path: Path) -> None:
    assert "can't be read" in refused(tmp_path, text).message


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"none.toml` can't be read.*No such file"):
        read(tmp_path / "none.toml")


@pytest.mark.parametrize(
    "settings",
    [
        {"short": 100, "length": 512},
        {"length": 8},
        {"short": 8, "length": 64},
        {"short": 1024, "length": 512},
        {"short": -128},
        {"rate": 0.0},
        {"rate": 1.0},
        {"turn": 1.5},
        {"common": 0.0},
        {"span": 0.5},
        {"share": 0.0},
    ],
    ids=str,
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(SettingError):
        Pretrain(**settings)


@pytest.mark.parametrize("kind", DEFAULT)
def test_without_objectives_a_kind_is_taught_its_own(kind: str) -> None:
    found = Recipe().taught((), kind, 128)
    assert [one.objective for one in found.objectives] == list(DEFAULT[kind])
    assert found.objectives[0].length == 128
    assert Recipe().taught((), kind, 4096).objectives[0].length == 512


@pytest.mark.parametrize(
    ("length", "short", "window"), [(512, 0, 256), (512, 128, 256), (512, 128, 200), (512, 256, 128), (64, 32, 512)]
)
def test_what_a_window_does_not_hold_is_shortened(length: int, short: int, window: int) -> None:
    recipe = Recipe(objectives=(Pretrain(objective="span", length=length, short=short, rate=0.3),))
    for objectives in ((), ("span",), ("prefix",), ("span", "prefix")):
        for one in recipe.taught(objectives, "seq2seq", window).objectives:
            assert min(length, window) // 2 < one.length <= window
            assert one.rate == 0.3


def test_named_objectives_take_the_settings_there_are() -> None:
    recipe = Recipe(objectives=(Pretrain(objective="span", length=64, short=32, bf16=False),))
    span, prefix = recipe.taught(("span", "prefix"), "seq2seq", 64).objectives
    assert span == recipe.objectives[0]
    assert prefix == Pretrain(objective="prefix", length=64, short=32, bf16=False)
