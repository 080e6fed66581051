"""Tables of cells, and what a report shows of them."""

import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from io import StringIO

import pytest
from rich.console import Console

from promptatlas.bench.report import Cell, Column, Report, Sample, Spread, shown, table
from promptatlas.errors import DataError

COLUMNS = (
    Column(heading="hats", figure="accuracy", task="hats"),
    Column(heading="mean", figure="accuracy"),
    Column(heading="trained", figure="trained", unit="count"),
)


def cell(method: str, task: str, seed: int, accuracy: float, **figures: float) -> Cell:
    return Cell(method=method, task=task, lm="tiny", seed=seed, figures={"accuracy": accuracy, **figures})


CELLS = (
    cell("plain", "hats", 0, 0.5, trained=0),
    cell("plain", "hats", 1, 0.7, trained=0),
    cell("plain", "coats", 0, 0.9, trained=0),
    cell("plain", "coats", 1, 0.9, trained=0),
    cell("fancy <b>|", "hats", 0, 0.8, trained=5120),
)
SAMPLE = Sample(
    text="a hat & a <coat>",
    target="warm",
    probabilities={"cold": 0.25, "warm": 0.75},
    words={"cosy": 0.5},
    by="plain",
)
REPORT = Report(title="Hats", cells=CELLS, columns=COLUMNS, note="Both are small.", samples=(SAMPLE,))


class Page(HTMLParser):
    """What a page holds: its tags, what they fetch, its text; tags must close in the order they open."""

    def __init__(self, text: str) -> None:
        HTMLParser.__init__(self)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.fetched: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [
            f"{tag} {name}" for name, _ in attrs if name in ("src", "href", "srcset", "data", "xlink:href")
        ]
        if tag not in ("meta", "link", "img", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_a_table_has_a_line_a_method_and_means_over_seeds():
    plain, fancy = table(CELLS, COLUMNS)
    assert (plain.method, fancy.method) == ("plain", "fancy <b>|")
    hats, mean, trained = plain.values
    assert (hats.mean, hats.deviation, hats.count) == (pytest.approx(0.6), pytest.approx(math.sqrt(0.02)), 2)
    assert (mean.mean, mean.deviation) == (pytest.approx(0.75), pytest.approx(math.sqrt(0.005)))  # of 0.7 and 0.8
    assert trained == Spread(0.0, 0.0, 2)
    assert math.isnan(fancy.values[0].deviation)
    assert table([cell("plain", "coats", 0, 0.9)], COLUMNS)[0].values[::2] == (None, None)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (Spread(0.6123, 0.0345, 3), "share", "61.2 ± 3.5"),
        (Spread(0.6123, math.nan, 1), "share", "61.2"),
        (Spread(4_402_178.0, 0.0, 3), "count", "4.4 M"),
        (Spread(999.7, 0.0, 3), "count", "1.0 k"),
        (Spread(512.0, 0.0, 3), "count", "512"),
        (Spread(133_000.0, 0.0, 3), "bytes", "133 kB"),
        (Spread(17_608_704.0, 0.0, 3), "bytes", "17.6 MB"),
        (Spread(4.26, 1.0, 3), "seconds", "4.3"),
        (None, "share", "-"),
    ],
)
def test_values_are_short(value, unit, text):
    assert shown(value, unit) == text


def test_markdown():
    assert REPORT.to_markdown() == (
        "# Hats\n\n"
        "| method | hats | mean | trained |\n"
        "| --- | ---: | ---: | ---: |\n"
        "| plain | 60.0 ± 14.1 | 75.0 ± 7.1 | 0 |\n"
        "| fancy <b>\\| | **80.0** | **80.0** | 5.1 k |\n\n"
        "Both are small.\n\n"
        "> a hat & a <coat>\n\n"
        "warm 0.75, cold 0.25 (right: warm; plain). At the slot, before training: cosy 0.50.\n"
    )


def test_json_holds_the_table_and_what_it_was_made_of():
    found = json.loads(json.dumps(REPORT.to_json(), allow_nan=False))
    assert found["rows"][1]["values"] == {
        "hats": {"mean": 0.8, "deviation": None, "count": 1},
        "mean": {"mean": 0.8, "deviation": None, "count": 1},
        "trained": {"mean": 5120, "deviation": None, "count": 1},
    }
    assert tuple(Cell.from_json(one) for one in found["cells"]) == CELLS
    assert found["samples"][0]["probabilities"] == {"cold": 0.25, "warm": 0.75}


def test_what_is_no_cell_is_refused():
    with pytest.raises(DataError, match="this is no cell"):
        Cell.from_json({"method": "plain"})


def test_on_a_terminal_it_is_a_table_and_the_samples():
    console = Console(width=80, record=True, file=StringIO())
    console.print(REPORT)
    text = console.export_text()
    assert re.search(r"plain +60.0 ± 14.1 +75.0 ± 7.1 +0", text)
    assert re.search(r"fancy <b>\| +80.0 +80.0 +5.1 k", text)
    assert "warm 0.75, cold 0.25  (right: warm; plain)" in text
    assert "at the slot, before training: cosy 0.50" in text


def test_the_page_is_whole_and_fetches_nothing():
    text = REPORT.to_html()
    page = Page(text)
    assert page.open == []
    assert page.fetched == []
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert "http" not in text
    assert "@import" not in text
    assert "url(" not in text
    assert "prefers-color-scheme: dark" in text


def test_the_page_shows_table_charts_and_samples():
    page = Page(REPORT.to_html())
    said = " ".join(page.texts)
    for one in ("Hats", "Both are small.", "fancy <b>|", "60.0 ± 14.1", "a hat & a <coat>", "cosy 0.50"):
        assert one in said
    assert page.tags.count("tr") == 3
    assert page.tags.count("svg") == 2  # a chart for each column of shares
    assert page.tags.count("circle") == 2 * 2 + 3 + 3  # a mean for each of two methods, twice; each seed under each
    assert 'class="whisker"' in REPORT.to_html()


def test_marks_of_a_chart_stay_inside_it():
    wild = Report(title="Wild", cells=(cell("a", "hats", 0, 0.0), cell("a", "hats", 1, 1.0)), columns=COLUMNS[:1])
    places = [float(one) for one in re.findall(r' (?:cx|x1|x2)="([\d.-]+)"', wild.to_html())]
    assert places
    assert all(0 < one < 460 for one in places)


def test_deviations_over_orders_and_over_draws_are_told_apart():
    shares = {(0, 0): 0.2, (0, 1): 0.4, (1, 0): 0.5, (1, 1): 0.5}
    cells = [replace(cell("shown", "hats", seed, one), order=order) for (seed, order), one in shares.items()]
    columns = [replace(COLUMNS[0], unit=unit) for unit in ("share", "deviation")]
    ((draws, orders),) = (entry.values for entry in table(cells, columns))
    assert (draws.mean, draws.deviation) == (pytest.approx(0.4), pytest.approx(math.sqrt(0.02)))
    assert (orders.mean, shown(orders, "deviation")) == (pytest.approx(math.sqrt(0.02) / 2), "7.1")
