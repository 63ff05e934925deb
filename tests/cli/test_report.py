"""`report`: one page that holds all it needs, shows names as they are, and works in a browser."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
from html.parser import HTMLParser

import pytest
from ommx.experiment import Experiment

from ommx_prefect._catalogue.opened import open_image
from ommx_prefect.analysis import report_html
from tests.support.browser import browser_tab, chromium, screenshot
from tests.support.nights import EVIL, log_run


class Page(HTMLParser):
    """The elements of a page, its texts, and the rows of its tables."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.addresses, self.headings, self.rows, self.texts = set(), [], [], [], []
        self.is_heading = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href", "action")]
        self.is_heading = tag == "h2"
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and self.rows:
            self.rows[-1].append("")

    def handle_data(self, data):
        self.texts.append(data)
        if self.is_heading and data.strip():
            self.headings.append(data)
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data.strip()


@pytest.fixture(scope="module")
def page(nights, command, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "night.html"
    answer = command("report", nights.second, nights.first, "-o", str(path))
    assert answer.code == 0, answer.err
    return path


def test_a_report_has_every_part(page, nights):
    found = Page(page.read_text())
    assert any("best: solves that no other one of their instance beats" in x for x in found.texts)
    assert found.headings == [
        "Totals",
        "Contradictions",
        "Compared with earlier nights",
        "Profile",
        "Gap over time",
        "Solves",
        "Environment",
    ]
    assert nights.second in "".join(found.texts)
    solvers = [row[0] for row in found.rows if row and row[0] in ("highs", "scip")]
    assert solvers.count("highs") >= 2


@pytest.mark.server
def test_failures_and_contradictions_are_there_with_their_reasons(nights):
    text = report_html(open_image(nights.lying).experiment, name="a <b>name</b>")
    found = Page(text)
    assert "degraded" in "".join(found.texts)
    assert any("optimal 7" in row for row in found.rows)
    assert "<b>" not in text
    failed = Page(report_html(open_image(nights.failed).experiment))
    assert "ValueError: the night fell" in "".join(failed.texts)


def test_a_failed_attempt_is_told_of_by_its_task_and_is_no_solve_without_an_answer():
    night = Experiment("nights.local/retried:one")
    with contextlib.suppress(OSError), night.run() as run:
        run.log_parameter("prefect.task", "read <b>it</b>")
        run.log_parameter("prefect.attempt", 1)
        raise OSError("no disk")
    log_run(night, instance="small", adapter="OMMXHighsAdapter", outcome="no_solution")
    night.commit()
    found = Page(report_html(Experiment.load(night.image_name)))
    texts = "".join(found.texts)
    assert "Solves without an answer: 1." in texts
    assert "Other Runs that failed or were interrupted: 1." in texts
    assert any(row[:3] == ["0", "read <b>it</b>", "1"] for row in found.rows)


def test_a_night_that_solved_nothing_is_not_called_fine(command, tmp_path):
    night = Experiment("nights.local/empty:one")
    night.commit()
    path = tmp_path / "night.html"
    assert command("report", night.image_name, "-o", str(path)).code == 0
    texts = [x.strip() for x in Page(path.read_text()).texts]
    assert "nothing was solved" in texts
    assert "fine" not in texts


def test_it_loads_nothing_and_escapes_every_name(page):
    text = page.read_text()
    found = Page(text)
    assert all(x.startswith("data:image/svg+xml;base64,") for x in found.addresses)
    assert "<img src=x" not in text
    assert "<script>alert" not in text
    assert "\x1b" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert not found.tags & {"link", "iframe", "object", "a", "form"}


def test_its_policy_allows_its_own_script_alone(page):
    text = page.read_text()
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src &#39;sha256-{digest}&#39;" in text or f"'sha256-{digest}'" in text
    assert "default-src 'none'" in text


@pytest.mark.server
def test_the_same_night_gives_the_same_page(nights, page):
    night, before = (open_image(x).experiment for x in (nights.second, nights.first))
    assert report_html(night, earlier=[before], name=nights.second) == page.read_text()


def test_without_matplotlib_there_are_tables_and_a_note(nights, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    text = report_html(open_image(nights.second).experiment)
    assert "Figures need matplotlib" in text
    assert "<img" not in text


@pytest.mark.server
@pytest.mark.parametrize(("width", "height"), [(1280, 2000), (390, 1400)])
def test_a_browser_shows_it(page, tmp_path, width, height):
    picture = screenshot(page, tmp_path / "page.png", width, height)
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    size = tuple(int.from_bytes(picture[at : at + 4], "big") for at in (16, 20))
    assert size == (width, height)
    assert len(picture) > 20_000  # not a white sheet


@pytest.mark.server
def test_in_a_browser_no_name_runs_and_headings_sort(page, tmp_path):
    dom = chromium("--dump-dom", page=page)
    assert "<title>owned" not in dom
    assert "<title>nights.local/bench:second" in dom
    copy = tmp_path / "copy.html"
    text = re.sub(r"<meta http-equiv=.Content-Security-Policy.[^>]*>", "", page.read_text())
    click = "<script>document.querySelector('table.sortable th:nth-child(2) button').click()"
    copy.write_text(text.replace("</body>", f"{click}</script></body>"))
    rows = Page(chromium("--dump-dom", page=copy)).rows
    start = next(n for n, row in enumerate(rows) if row[:2] == ["run", "instance"])
    names = [row[1] for row in rows[start + 1 : start + 7]]
    assert names[2:] == ["none", "none", "small", "small"]
    assert names[0] == EVIL.replace("\x1b", "\\x1b")


# A4 with the margins of a browser, upright and on its side.
@pytest.mark.server
@pytest.mark.parametrize("width", [718, 1047])
def test_on_paper_nothing_is_cut_off(page, tmp_path, width):
    with browser_tab(tmp_path / "profile") as tab:
        tab.open(page.as_uri())
        tab.until("document.querySelectorAll('table').length > 3")
        tab.print_on(width)
        widest = "Math.max(...[...document.querySelectorAll('table, img')].map(x => {r}))"
        right = widest.format(r="x.getBoundingClientRect().right")
        hidden = widest.format(r="x.parentElement.scrollWidth - x.parentElement.clientWidth")
        assert tab.value(right) <= width
        assert tab.value(hidden) <= 0
