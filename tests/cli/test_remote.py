"""The command line on a model behind an address."""

from pathlib import Path

import pytest
from tests.cli.small import Command

from promptatlas.testing import endpoint


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # where replies are kept


def test_a_prompt_is_fitted_and_asked_at_an_address_and_then_from_what_was_kept(
    command: Command, tmp_path: Path
) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("a gorgeous film\n很好看\n", "utf8")
    with endpoint("pocket-causal") as served:
        lm = f"{served.url}#pocket-causal"
        fit = command(
            "fit", "contextual_calibration", "--task", "reviews", "--shots", 2, "--template", "{text} It was {mask}",
            "--lm", lm, "--out", tmp_path / "prompt",
        )  # fmt: skip
        assert fit.code == 0, fit.err
        first = command("predict", tmp_path / "prompt", texts)
        assert first.code == 0, first.err
    again = command("predict", tmp_path / "prompt", texts)  # the endpoint is gone
    assert (again.code, again.lines()) == (0, first.lines())
    assert len(first.lines()) == 2


def test_doctor_says_what_it_can(command: Command) -> None:
    done = command("doctor", "--lm", "http://localhost:1/v1#pocket-causal", "--json")
    assert done.code == 0, done.err
    told = str(done.json())
    assert "'generate', 'logits'" in told
    assert "takes no prefix" in told


def test_a_method_that_needs_more_says_what_does_without(command: Command, tmp_path: Path) -> None:
    lm = "http://localhost:1/v1#pocket-causal"
    done = command("fit", "prompt_tuning", "--task", "reviews", "--shots", 2, "--lm", lm, "--out", tmp_path / "prompt")
    assert done.code == 2
    assert f"`prompt_tuning` needs a model that can do `gradient`, and `{lm}` can't" in done.err
    assert "`contextual_calibration`" in done.err
    assert "`petal`" not in done.err
