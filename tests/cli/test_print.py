import json
import time

import pytest

from promptatlas.cli import print as show
from promptatlas.train.run import Event


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """What rich takes for a terminal, and a bar that doesn't wait."""
    for name in ("NO_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(show, "WAIT", 0.01)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0.5, "0.5000"),
        (0.0, "0.0000"),
        (1e-5, "1e-05"),
        (1.5e7, "1.5e+07"),
        (12345, "12,345"),
        ("a", "a"),
    ],
)
def test_values(value: show.Cell, text: str) -> None:
    assert show.shown(value) == text


def test_a_table_shows_text_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    show.table(("[b]name[/b]", "n"), [("[red]tea[/red] :cup:", 3), ("pot", 1200)], title="[i]cups")
    out, err = capsys.readouterr()
    assert err == ""
    lines = [line.rstrip() for line in out.splitlines()]
    assert lines[0] == "[i]cups"
    assert lines[1].split() == ["[b]name[/b]", "n"]
    assert lines[2].startswith("[red]tea[/red] :cup:")
    assert lines[2].endswith("    3")
    assert lines[3].endswith("1,200")


def test_errors_and_notes_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    long = "a cup " * 60
    show.problem(long + "[x]", "boil")
    show.note("hot")
    assert capsys.readouterr() == ("", f"error: {long}[x]\nhint: boil\nhot\n")


def test_data_is_json_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    show.data({"a": ["茶", 1]})
    assert json.loads(capsys.readouterr().out) == {"a": ["茶", 1]}
    show.line({"a": "茶"})
    assert capsys.readouterr().out == '{"a": "茶"}\n'
    with pytest.raises(ValueError, match="JSON"):
        show.data(float("nan"))


def test_a_bar_is_shown_on_a_terminal(capsys: pytest.CaptureFixture[str], terminal: None) -> None:
    with show.Bar() as bar:
        bar.step("brewing", 8)
        bar.advance(2)
        time.sleep(0.3)
        bar.listen(Event("tune", 3, 9, {"loss": 0.5, "lr": 0.1}))
        bar.listen(Event("dev", 3, 9, {"dev_accuracy": 0.75}))
        bar.listen(Event("stage", 1, 1))
        time.sleep(0.3)
    out, err = capsys.readouterr()
    assert out == ""
    for said in ("brewing", "2/8", "tune", "3/9", "loss 0.5", "dev_accuracy 0.75"):
        assert said in err
    assert "lr" not in err


def test_nothing_is_shown_before_its_time(
    capsys: pytest.CaptureFixture[str], terminal: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(show, "WAIT", 60.0)
    with show.Bar() as bar:
        bar.step("brewing", 8)
    assert capsys.readouterr() == ("", "")


def test_nothing_is_shown_without_a_terminal_or_when_told(
    capsys: pytest.CaptureFixture[str], terminal: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with show.Bar(quiet=True) as bar:
        bar.step("brewing", 8)
        time.sleep(0.1)
    monkeypatch.delenv("FORCE_COLOR")
    with show.Bar() as bar:
        bar.step("brewing", 8)
        time.sleep(0.1)
    assert capsys.readouterr() == ("", "")
