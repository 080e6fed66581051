"""`promptatlas explain`."""

from pathlib import Path

import pytest
from tests.cli.small import Command

import promptatlas


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lm, task = promptatlas.load("pocket-causal"), promptatlas.task("reviews")
    start = promptatlas.prompt("{text} It was {mask}", {"positive": "great", "negative": "terrible"})
    shown = promptatlas.method("in_context", k=2).fit(lm, task, start)
    calibrated = promptatlas.method("contextual_calibration").fit(lm, task, shown)
    return promptatlas.save(calibrated, tmp_path_factory.mktemp("explained") / "prompt")


def test_for_people(command: Command, folder: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    done = command("explain", folder, "a gorgeous <b> film", "--top", 3, "--html", page)
    assert done.code == 0
    for told in (
        "demonstration 2, template",
        "likeliest at the slot",
        "adds, nats",
        "positive, uncalibrated",
        "passes",
    ):
        assert told in done.out
    html = page.read_text("utf-8")
    assert "<b> film" not in html
    assert html.count('class="field') > 4
    assert "What each demonstration does" in html


def test_as_json(command: Command, folder: Path) -> None:
    (told,) = command("explain", folder, '{"text": "很好"}', "--json", "--top", 2).json()["prompts"]
    assert told["answer"]["value"] in ("positive", "negative")
    assert len(told["effects"]) == 2
    assert [len(words) for words in told["rows"][0]["top"].values()] == [2]
    assert set(told["blanks"]) == {"N/A", ""}
    assert told["cost"]["operations"] > 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (('{"text": 1',), "EXAMPLE"),
        (('{"title": "a"}',), "no field `text`"),
        (("a", "--top", 0), "`--top` is 0"),
    ],
)
def test_a_mistake_is_told(command: Command, folder: Path, words: tuple[object, ...], message: str) -> None:
    assert message in command.fails("explain", folder, *words)[0]


def test_a_page_that_cannot_be_written_is_told(command: Command, folder: Path, tmp_path: Path) -> None:
    done = command("explain", folder, "a", "--html", tmp_path / "none" / "page.html")
    assert done.code == 2
    assert "can't be written" in done.err
    assert list(tmp_path.iterdir()) == []


def test_the_cost_of_answers(command: Command, folder: Path, tmp_path: Path) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("a good one\na bad one\n", encoding="utf-8")
    done = command("predict", folder, texts, "--cost")
    assert len(done.lines()) == 2
    assert "an answer took" in done.err
    assert "an answer took" not in command("predict", folder, texts).err
    each = command("evaluate", folder, "--task", "reviews", "--json").json()["each"]
    assert 0 < each["passes"] < 1
    assert each["operations"] > each["tokens"] > 1
