"""Prompts to PEFT's format and back, on the command line."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.cli.small import GOOD, QUICK, TEMPLATE, WORDS, Command, feed, task

import promptatlas


@pytest.fixture
def tuned(command: Command, tmp_path: Path, causal: Path) -> Path:
    task(tmp_path / "task")
    fit = ("fit", "prompt_tuning", "--task", tmp_path / "task", "--template", "{text} It was {mask}", *WORDS, *QUICK)
    assert command(*fit, "--lm", causal, "--out", tmp_path / "tuned").code == 0
    return tmp_path / "tuned"


def test_there_and_back(command: Command, tuned: Path, causal: Path, tmp_path: Path) -> None:
    told = command("export", tuned, "--to", "peft", "--out", tmp_path / "theirs", "--json").json()
    assert told == {
        "out": str(tmp_path / "theirs"), "format": "peft", "lm": str(causal), "peft_type": "PROMPT_TUNING",
        "num_virtual_tokens": 2,
    }  # fmt: skip
    kept = load_file(tmp_path / "theirs" / "adapter_model.safetensors")
    torch.testing.assert_close(
        kept, {"prompt_embeddings": promptatlas.open(tuned).parts["soft"].tensors()["weight"]}, atol=0, rtol=0
    )
    told = command("import", tmp_path / "theirs", "--lm", causal, "--out", tmp_path / "ours", "--json").json()
    assert (told["template"], told["parts"]) == ("{@soft}{text} It was {mask}", "soft")
    ours = promptatlas.open(tmp_path / "ours")
    assert ours == promptatlas.open(tuned)
    assert [step.method for step in ours.history] == ["prompt_tuning", "import_peft"]
    shown = command("show", tmp_path / "ours").out
    assert "import_peft" in shown


def test_a_checkpoint_that_came_alone(
    command: Command, causal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    config = {"peft_type": "P_TUNING", "num_virtual_tokens": 3, "task_type": "CAUSAL_LM"}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    save_file({"prompt_embeddings": torch.ones(3, 32)}, folder / "adapter_model.safetensors")
    brought = ("import", folder, "--lm", causal, "--out", tmp_path / "ours")
    assert "{@soft}{text}{mask}" in command(*brought).out
    told = command(*brought, "--template", "{text} It was {mask}", *WORDS, "--json").json()
    assert told["template"] == "{@soft}{text} It was {mask}"
    feed(monkeypatch, f"{GOOD[0]}\n".encode())
    (answer,) = command("predict", tmp_path / "ours").lines()  # it says which model it is for
    assert set(answer["probabilities"]) == {"good", "bad"}


def test_what_can_t_be(command: Command, tuned: Path, causal: Path, tmp_path: Path) -> None:
    message, hint = command.fails("export", tuned, "--to", "onnx", "--out", tmp_path / "out")
    assert (message, hint) == ("there is no format `onnx` to export to", "there are `peft`")
    plain = promptatlas.save(promptatlas.prompt(TEMPLATE, {"a": "good", "b": "bad"}), tmp_path / "plain")
    message, _ = command.fails("export", plain, "--lm", "pocket-masked", "--out", tmp_path / "out")
    assert message.startswith("nothing was learned for this prompt")
    message, _ = command.fails("import", tmp_path / "nowhere", "--lm", "nosuch", "--out", tmp_path / "out")
    assert message == f"`{tmp_path / 'nowhere'}` is no PEFT adapter: it is no folder"  # before a model is looked for
    assert not (tmp_path / "out").exists()
    command("export", tuned, "--out", tmp_path / "theirs")
    message, hint = command.fails("import", tmp_path / "theirs", "--lm", "pocket-masked", "--out", tmp_path / "out")
    assert "vectors are 32 wide" in message
    assert "those of `pocket-masked` are 256" in message
    assert hint == "give --lm the model it was made for: one whose input vectors are 32 wide"
