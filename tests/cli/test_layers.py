"""`show` explains a prefix: its positions, its MLP, norms by layer, distances from the start."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.cli.small import TEMPLATE, Command

import promptatlas
from promptatlas.lm.local import LocalLM
from promptatlas.parts.prefix import Prefix, normal
from promptatlas.parts.reparam import flat, mlp_prefix
from promptatlas.prompting import Prompt
from promptatlas.testing.tiny import tiny

START = promptatlas.prompt(TEMPLATE, {"positive": "great", "negative": "terrible"})
MLPS = {0: "none", 4: "dropped, 4 wide"}


@pytest.fixture(scope="module")
def lm() -> LocalLM:
    return promptatlas.load("pocket-masked")


def fitted(lm: LocalLM, name: str, prompt: Prompt = START, **settings: object) -> Prompt:
    task = replace(promptatlas.task("reviews").few(2, seed=0), words=None)
    return promptatlas.method(name, **{"length": 3, "steps": 2, "batch": 2, "seed": 4, **settings}).fit(
        lm, task, prompt
    )


def about(command: Command, folder: Path, *more: object) -> dict:
    return command("show", folder, "--json", *more).json()["prompts"][0]["parts"]["prefix"]


def test_norms_by_hand(command: Command, tmp_path: Path) -> None:
    """Two layers, two heads, one position: keys (3, 4) and (0, 1), values (6, 8) and (0, 0); twice that above."""
    first = torch.tensor([[[[3.0, 4.0]], [[0.0, 1.0]]], [[[6.0, 8.0]], [[0.0, 0.0]]]])  # [2, heads, length, dim]
    prompt = START.plus(prefix=Prefix({"self": torch.stack([first, 2 * first])}, positions="shifted"))
    shown = about(command, promptatlas.save(prompt, tmp_path / "a"))
    assert shown["layers"] == [
        {
            "place": "self",
            "layer": layer,
            "keys": {"mean": 3.0 * by, "min": 1.0 * by, "max": 5.0 * by},
            "values": {"mean": 5.0 * by, "min": 0.0, "max": 10.0 * by},
            "moved": None,
        }
        for layer, by in enumerate((1, 2))
    ]
    told = {key: shown[key] for key in ("length", "places", "positions", "mlp", "why")}
    assert told == {
        "length": 1,
        "places": ["self"],
        "positions": "shifted",
        "mlp": "unknown",
        "why": "the model isn't at hand",
    }
    people = command("show", tmp_path / "a").out
    assert "prefix: norms of 1 positions by layer, over heads" in people
    assert "self 1  6.0000  2.0000  10.0000" in people
    assert "the text behind it is shifted; the MLP it was trained through: unknown" in people
    assert "how far they moved isn't known: the model isn't at hand" in people


@pytest.mark.parametrize("mid", MLPS)
@pytest.mark.parametrize("name", ["prefix_tuning", "p_tuning_v2"])
def test_how_far_each_layer_has_moved(command: Command, lm: LocalLM, name: str, mid: int, tmp_path: Path) -> None:
    tuned = fitted(lm, name, mid=mid)
    start = promptatlas.method(name, length=3, seed=4, mid=mid).beginning(lm, START)
    apart = (tuned.parts["prefix"].tensors()["self"] - flat(start).tensors()["self"]).norm(dim=-1).mean((2, 3))
    assert (apart > 1e-4).all()
    shown = about(command, promptatlas.save(tuned, tmp_path / "tuned"))
    moved = [[one["moved"]["keys"], one["moved"]["values"]] for one in shown["layers"]]
    assert torch.tensor(moved).flatten().tolist() == pytest.approx(apart.flatten().tolist(), abs=1e-4)
    assert (shown["mlp"], shown["why"]) == (MLPS[mid], "")
    assert "isn't known" not in command("show", tmp_path / "tuned").out


def test_words_it_started_from(command: Command, lm: LocalLM, tmp_path: Path) -> None:
    for mid in (0, 4):
        tuned = fitted(lm, "prefix_tuning", mid=mid, start="a lovely cup", prefit=3)
        shown = about(command, promptatlas.save(tuned, tmp_path / str(mid)))
        assert shown["length"] == len(lm.tokens("a lovely cup"))
        assert all(one["moved"]["keys"] > 0 for one in shown["layers"])


def test_trained_twice_it_has_moved_since_the_first_start(command: Command, lm: LocalLM, tmp_path: Path) -> None:
    once = fitted(lm, "prefix_tuning", mid=4)
    twice = fitted(lm, "p_tuning_v2", once, mid=4, lr=1e-9)
    shown = [about(command, promptatlas.save(one, tmp_path / str(at))) for at, one in enumerate((once, twice))]
    for one, other in zip(*(some["layers"] for some in shown), strict=True):
        assert one["moved"] == pytest.approx(other["moved"], abs=1e-3)
    assert [some["mlp"] for some in shown] == ["dropped, 4 wide"] * 2
    assert twice.history[-1].figures["mlp"] == 0  # the second fit trained keys and values themselves


def test_soft_prompts_beside_it_have_starts_of_their_own(command: Command, lm: LocalLM, tmp_path: Path) -> None:
    both = fitted(lm, "prefix_tuning", fitted(lm, "prompt_tuning"), mid=0)
    folder = promptatlas.save(both, tmp_path / "both")
    assert about(command, folder)["why"] == ""
    soft = command("show", folder, "--json").json()["prompts"][0]["parts"]["soft"]
    assert len(soft["moved"]) == 3


def test_a_start_that_nobody_can_make_again(command: Command, lm: LocalLM, tmp_path: Path) -> None:
    tuned = fitted(lm, "prefix_tuning", START.plus(prefix=normal(lm, 3, seed=8)))
    shown = about(command, promptatlas.save(tuned, tmp_path / "given"))
    assert shown["why"] == (
        "it started from other keys and values than `prefix_tuning` makes of its settings, and those weren't kept"
    )
    assert (shown["mlp"], shown["layers"][0]["moved"]) == ("none", None)


def test_an_mlp_that_was_kept_and_places_of_a_seq2seq_model(command: Command, tmp_path: Path) -> None:
    t5 = tiny("t5")
    part = mlp_prefix(t5, 2, mid=4, seed=0)
    shown = about(command, promptatlas.save(START.plus(prefix=part), tmp_path / "a"))
    assert (shown["mlp"], shown["positions"]) == ("kept", "unshifted")
    assert [(one["place"], one["layer"]) for one in shown["layers"]] == [
        (place, layer) for place in shown["places"] for layer in range(2)
    ]
    assert set(shown["places"]) == {"encoder", "decoder", "cross"}
    wanted = part.flat().tensors()["cross"][1, 0].norm(dim=-1)
    (cross,) = (one for one in shown["layers"] if (one["place"], one["layer"]) == ("cross", 1))
    assert cross["keys"]["mean"] == pytest.approx(float(wanted.mean()), abs=1e-4)
    assert cross["keys"]["max"] == pytest.approx(float(wanted.max()), abs=1e-4)
    empty = about(command, promptatlas.save(START.plus(prefix=normal(t5, 0, seed=0)), tmp_path / "b"))
    assert empty["layers"][0]["keys"] == {"mean": 0.0, "min": 0.0, "max": 0.0}


def test_a_model_that_isn_t_at_hand_is_left_out(command: Command, lm: LocalLM, tmp_path: Path) -> None:
    tuned = fitted(lm, "p_tuning_v2")
    step = tuned.history[-1]
    away = replace(tuned, history=(replace(step, lm={**step.lm, "name": "somewhere/else"}),))
    done = command("show", promptatlas.save(away, tmp_path / "away"))
    assert done.code == 0
    assert done.err == "how far its prefix has moved is shown where the model is: say where with --lm\n"
    assert "norms of 3 positions" in done.out
    changed = replace(tuned, history=(replace(step, lm={**step.lm, "weights": "0" * 16}),))
    done = command("show", promptatlas.save(changed, tmp_path / "changed"))
    assert done.err.startswith("how far its prefix has moved isn't known: this prompt was learned on `pocket-masked`")
    assert about(command, tmp_path / "away", "--lm", "pocket-masked")["why"] == ""
