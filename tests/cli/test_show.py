"""`show` explains a soft prompt: nearest words, norms, distances from the start, a picture."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.cli.small import TEMPLATE, Command

import promptatlas
from promptatlas.cli.picture import Cloud, plane
from promptatlas.lm.local import LocalLM
from promptatlas.parts.vectors import Vectors, of_labels
from promptatlas.prompting import Ensemble, Prompt

WORD = {"good": "great", "bad": "terrible"}
ROWS = [{"text": "a lovely cup", "label": "good"}, {"text": "a bitter cup", "label": "bad"}]


@pytest.fixture(scope="module")
def lm() -> LocalLM:
    return promptatlas.load("pocket-masked")


def fitted(lm: LocalLM, prompt: Prompt | None = None, **settings: object) -> Prompt:
    task = replace(promptatlas.task("reviews").few(2, seed=0), words=None)
    start = prompt or promptatlas.prompt(TEMPLATE, {"positive": "great", "negative": "terrible"})
    method = promptatlas.method("prompt_tuning", **{"length": 3, "steps": 2, "batch": 2, "seed": 4, **settings})
    return method.fit(lm, task, start)


def about(command: Command, folder: Path, *more: object) -> dict:
    return command("show", folder, "--json", *more).json()["prompts"][0]["parts"]["soft"]


@pytest.mark.parametrize("start", ["labels", "vocabulary", "uniform"])
def test_how_far_each_vector_has_moved(command: Command, lm: LocalLM, start: str, tmp_path: Path) -> None:
    tuned = fitted(lm, start=start)
    method = promptatlas.method("prompt_tuning", length=3, seed=4, start=start)
    first = method.beginning(lm, promptatlas.prompt(TEMPLATE, {"positive": "great", "negative": "terrible"}))
    moved = (tuned.parts["soft"].tensors()["weight"] - first.weight.detach()).norm(dim=-1)
    assert (moved > 1e-3).all()
    folder = promptatlas.save(tuned, tmp_path / "tuned")
    assert about(command, folder)["moved"] == pytest.approx(moved.tolist(), abs=1e-3)
    people = command("show", folder).out
    assert "nearest words and cosines" in people
    assert "half of the vocabulary's vectors have a norm below" in people


def test_trained_twice_it_has_moved_since_the_first_start(command: Command, lm: LocalLM, tmp_path: Path) -> None:
    once = fitted(lm)
    twice = fitted(lm, once, lr=1e-9)
    moved = [about(command, promptatlas.save(one, tmp_path / str(at)))["moved"] for at, one in enumerate((once, twice))]
    assert moved[0] == pytest.approx(moved[1], abs=1e-3)


def test_a_start_that_nobody_can_make_again(command: Command, lm: LocalLM, tmp_path: Path) -> None:
    given = promptatlas.prompt(TEMPLATE, {"positive": "great", "negative": "terrible"})
    tuned = fitted(lm, given.lead(soft=Vectors(lm.vectors[50:53])))
    folder = promptatlas.save(tuned, tmp_path / "given")
    soft = about(command, folder)
    assert soft["moved"] is None
    assert soft["why"] == (
        "it started from other vectors than `prompt_tuning` makes of its settings, and those weren't kept"
    )
    assert "how far they moved isn't known: it started from other vectors" in command("show", folder).out


def test_a_model_that_isn_t_at_hand_is_left_out(command: Command, lm: LocalLM, tmp_path: Path) -> None:
    tuned = fitted(lm)
    step = tuned.history[-1]
    away = replace(tuned, history=(replace(step, lm={**step.lm, "name": "somewhere/else"}),))
    done = command("show", promptatlas.save(away, tmp_path / "away"))
    assert done.code == 0
    assert "nearest words" not in done.out
    assert done.err == "the words its vectors are near to are shown where the model is: say where with --lm\n"
    changed = replace(tuned, history=(replace(step, lm={**step.lm, "weights": "0" * 16}),))
    done = command("show", promptatlas.save(changed, tmp_path / "changed"))
    assert done.code == 0
    assert done.err.startswith("its vectors aren't explained: this prompt was learned on `pocket-masked`")
    assert command("show", tmp_path / "changed", "--lm", "pocket-masked").code == 2


def test_a_picture(command: Command, lm: LocalLM, tmp_path: Path) -> None:
    tuned = fitted(lm)
    one = promptatlas.save(tuned, tmp_path / "one")
    done = command("show", one, "--picture", tmp_path / "one.png")
    assert done.code == 0
    assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")
    command("show", one, "--picture", tmp_path / "one.svg")
    drawn = (tmp_path / "one.svg").read_text()
    assert "<!-- great -->" in drawn
    assert "<!-- 2 -->" in drawn
    both = promptatlas.save(Ensemble(prompts=(tuned, fitted(lm, seed=5))), tmp_path / "both")
    command("show", both, "--picture", tmp_path / "both.svg")
    assert "<!-- soft of prompt 2 -->" in (tmp_path / "both.svg").read_text()


def test_points_lie_where_they_differ_most() -> None:
    line = torch.zeros(4, 6)
    line[:, 2] = torch.tensor([-3.0, -1.0, 1.0, 3.0])
    line[:, 4] = torch.tensor([0.1, -0.1, -0.1, 0.1])
    (points, starts), = plane([Cloud("a", line, "abcd", "o", line + torch.eye(6)[2])])  # fmt: skip
    torch.testing.assert_close(points[:, 0].abs(), torch.tensor([3.0, 1.0, 1.0, 3.0]))
    torch.testing.assert_close((starts - points).abs(), torch.tensor([1.0, 0.0]).expand(4, 2), atol=1e-5, rtol=0)
    ((alone, _),) = plane([Cloud("a", line[:1], "a", "o")])
    assert alone.shape == (1, 2)


def test_no_picture(command: Command, lm: LocalLM, tmp_path: Path) -> None:
    plain = promptatlas.save(promptatlas.prompt(TEMPLATE, WORD), tmp_path / "plain")
    message, hint = command.fails("show", plain, "--picture", tmp_path / "a.txt")
    assert (message, hint) == (
        f"`--picture {tmp_path / 'a.txt'}` is no kind of picture",
        "there are `.pdf`, `.png`, `.svg`",
    )
    message, _ = command.fails("show", plain, "--picture", tmp_path / "no" / "a.png")
    assert message.endswith(f"there is no folder `{tmp_path / 'no'}`")
    message, hint = command.fails("show", plain, "--picture", tmp_path / "a.png")
    assert (message, hint) == ("the prompt doesn't say which language model it is for", "say it with --lm")
    message, _ = command.fails("show", plain, "--lm", "pocket-masked", "--picture", tmp_path / "a.png")
    assert message == "there is nothing to draw: this prompt has no vectors among its inputs"
    assert not (tmp_path / "a.png").exists()


def test_a_start_of_labels_is_the_label_words(lm: LocalLM) -> None:
    method = promptatlas.method("prompt_tuning", length=2)
    prompt = promptatlas.prompt(TEMPLATE, WORD)
    found = method.beginning(lm, prompt).weight
    assert torch.equal(found, of_labels(lm, list(WORD.values()), 2, before=prompt.template.before()).weight)
