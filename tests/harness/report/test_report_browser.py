"""The report in a real browser: what it asks for, what it answers to, what it looks like on paper, and its contrast."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from report_rows import METHODS, bowl_results, example_store

from harness.report.data import ReportData
from harness.report.page import make_page, topics
from harness.store import ResultStore
from harness.sweep.definition.file import Sweep

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here: apt-get install chromium"),
]

_PATIENCE = 120_000  # milliseconds: machines may be busy
_WIDTHS = (390, 1440)
_THEMES = ("light", "dark")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("report")
    store = example_store(folder / "rows")
    data = ReportData(store, store.read())
    path = folder / "report.html"
    path.write_text(make_page(data, topics(data, [])), encoding="utf-8")
    return path.as_uri()


class _Visit:
    """A page that is open, and what it asked for and complained about."""

    def __init__(self, browser: Browser, address: str, **options: Any) -> None:
        self.messages: list[str] = []
        self.requests: list[str] = []
        self.page: Page = browser.new_page(**options)
        self.page.set_default_timeout(_PATIENCE)
        self.page.on("console", lambda message: self.messages.append(message.text))
        self.page.on("pageerror", lambda error: self.messages.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(address)
        self.page.wait_for_function("document.documentElement.dataset.ready === 'true'")

    @property
    def n_drawn(self) -> int:
        """The number of charts that are drawn."""
        return self.page.locator("[data-chart] svg").count()

    def draw_all(self) -> None:
        """Draw all charts, as in a window that has room for them."""
        size = self.page.viewport_size
        assert size is not None
        self.page.set_viewport_size({"width": size["width"], "height": 20_000})
        self.page.wait_for_function("!document.querySelector('[data-chart]:not(:has(svg))')")
        self.page.set_viewport_size(size)


@pytest.fixture
def visit(browser: Browser, address: str) -> Iterator[_Visit]:
    visit = _Visit(browser, address, viewport={"width": 1440, "height": 900})
    yield visit
    visit.page.close()


@pytest.mark.parametrize("theme", _THEMES)
@pytest.mark.parametrize("width", _WIDTHS)
def test_it_opens_without_a_request_or_an_error_and_fits(
    browser: Browser, address: str, width: int, theme: str
) -> None:
    visit = _Visit(browser, address, viewport={"width": width, "height": 900}, color_scheme=theme)
    assert visit.messages == []
    assert visit.requests == [address]
    assert visit.page.evaluate("document.documentElement.scrollWidth") == width
    visit.draw_all()
    assert visit.n_drawn > 15
    assert visit.page.evaluate("document.documentElement.scrollWidth") == width
    assert visit.messages == []
    visit.page.close()


def test_a_chart_is_drawn_when_it_comes_near(visit: _Visit) -> None:
    first, last = (visit.page.locator("[data-chart]").nth(index) for index in (0, -1))
    first.scroll_into_view_if_needed()
    first.locator("svg").wait_for()
    assert last.locator("svg").count() == 0
    last.scroll_into_view_if_needed()
    last.locator("svg").wait_for()
    assert 0 < visit.n_drawn < visit.page.locator("[data-chart]").count()


def test_sweeps_are_drawn_without_a_complaint(
    browser: Browser, make_bowls: Callable[..., Sweep], tmp_path: Path
) -> None:
    results, store = bowl_results(make_bowls(trials=6)), ResultStore(tmp_path / "rows")
    for row in results.rows:
        store.write(row)
    data = ReportData(store, store.read())
    page = tmp_path / "report.html"
    page.write_text(make_page(data, [topic for topic in topics(data, [results]) if topic.name == "sweeps"]), "utf-8")
    visit = _Visit(browser, page.as_uri())
    visit.draw_all()
    assert visit.messages == []
    assert visit.n_drawn == 4
    visit.page.close()


@pytest.mark.parametrize("theme", _THEMES)
def test_contrast_and_names_meet_wcag_aa(browser: Browser, address: str, theme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    visit = _Visit(browser, address, viewport={"width": 1440, "height": 900}, color_scheme=theme)
    visit.draw_all()
    only = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21aa"]}}
    found = axe.run(visit.page, options=only).response["violations"]
    assert [(rule["id"], [node["html"] for node in rule["nodes"]][:3]) for rule in found] == []
    visit.page.close()


def _measured(visit: _Visit) -> list[str]:
    """Return the names in the first leaderboard, without published figures."""
    cells = visit.page.locator("table.leaderboard").first.locator("tbody td:nth-child(2)").all_inner_texts()
    return [text.strip() for text in cells if text.strip() in METHODS]


def test_a_click_on_a_heading_sorts_its_table(visit: _Visit) -> None:
    heading = visit.page.locator("table.leaderboard").first.locator("th", has_text="loss")
    heading.locator("button").click()
    assert _measured(visit) == [*METHODS]
    assert heading.get_attribute("aria-sort") == "ascending"
    heading.locator("button").press("Enter")
    assert heading.get_attribute("aria-sort") == "descending"
    assert _measured(visit) == [*METHODS][::-1]


def test_the_filter_keeps_matching_lines(visit: _Visit) -> None:
    visit.page.get_by_label("Filter").first.fill("BOLD")
    shown = visit.page.locator("table.leaderboard tbody tr:visible")
    assert shown.count() > 0
    assert all("<b>bold</b>" in text for text in shown.all_text_contents())
    assert visit.page.locator("#filtered").inner_text().startswith(f"{shown.count()} of ")


def test_cells_are_found_and_sorted(visit: _Visit) -> None:
    visit.page.locator("#cell-filter").fill("failed modularization")
    assert visit.page.locator("#cell-count").inner_text() == "1 cell"
    row = visit.page.locator("#cell-table tbody tr")
    assert "splitbench rerun " in row.inner_text()
    visit.page.locator("#cell-filter").fill("")
    visit.page.locator("#cell-table th", has_text="seed").locator("button").click()
    seeds = [int(text) for text in visit.page.locator("#cell-table tbody td:nth-child(7)").all_inner_texts()]
    assert seeds == sorted(seeds)


def test_pointing_at_a_mark_shows_its_cell_and_a_click_copies_the_command(visit: _Visit) -> None:
    chart = visit.page.locator("[data-chart='pareto-0-kernel_retention']")
    chart.scroll_into_view_if_needed()
    mark = chart.locator(".mark-symbol.role-mark path").last
    mark.scroll_into_view_if_needed()
    mark.hover()
    tip = visit.page.locator("#tip").inner_text()
    assert "seed" in tip
    assert "splitbench rerun " in tip
    visit.page.evaluate("navigator.clipboard.writeText = (text) => { window.copied = text; return Promise.resolve(); }")
    mark.click()
    assert visit.page.evaluate("window.copied") in tip
    visit.page.keyboard.press("Escape")
    assert visit.page.locator("#tip").is_hidden()


def test_names_above_a_chart_single_out_with_the_keyboard(visit: _Visit) -> None:
    figure = visit.page.locator("figure", has=visit.page.locator("[data-chart='pareto-0-kernel_retention']"))
    marks = "[data-chart='pareto-0-kernel_retention'] .mark-symbol.role-mark path"
    opacities = f"[...document.querySelectorAll({marks!r})].map((mark) => Number(getComputedStyle(mark).opacity))"
    figure.scroll_into_view_if_needed()
    figure.locator(".mark-symbol.role-mark path").first.wait_for()
    before = visit.page.evaluate(opacities)
    button = figure.locator(".legend button").first
    button.press("Enter")
    assert button.get_attribute("aria-pressed") == "true"
    visit.page.wait_for_function(f"Math.min(...{opacities}) < 0.2")
    assert sorted(visit.page.evaluate(opacities))[-3:] == [before[0]] * 3, "three seeds of one method"
    button.press(" ")
    visit.page.wait_for_function(f"Math.min(...{opacities}) === {before[0]}")


def test_a_chart_has_its_numbers_as_a_table_and_a_menu_chooses_the_patch(visit: _Visit) -> None:
    figure = visit.page.locator("#patches figure").last
    figure.scroll_into_view_if_needed()
    figure.locator("summary").press("Enter")
    lines = figure.locator(".numbers tbody tr")
    lines.first.wait_for()  # the event of an opened element comes a moment later
    assert lines.count() == 3 * 2 * 6, "classes that are patched, models, and pairs of class and answer that occur"
    drawn = figure.locator("svg [aria-label*='images: 6']")
    first = drawn.first.get_attribute("aria-label")
    figure.locator("select").select_option(index=1)
    visit.page.wait_for_function(
        "(label) => !document.querySelector(`#patches figure:last-child svg`).innerHTML.includes(label)", arg=first
    )


def test_on_paper_every_chart_and_cell_is_there_in_light_colours(
    browser: Browser, address: str, tmp_path: Path
) -> None:
    visit = _Visit(browser, address, viewport={"width": 1440, "height": 900}, color_scheme="dark")
    visit.page.emulate_media(media="print", color_scheme="dark")
    assert visit.n_drawn < visit.page.locator("[data-chart]").count()
    visit.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert visit.n_drawn == visit.page.locator("[data-chart]").count(), "the browser does not wait for them"
    assert visit.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert visit.page.locator("#cell-table tbody tr").count() == 16
    assert visit.page.locator("nav").is_hidden()
    sheet = visit.page.pdf(format="A4", path=tmp_path / "report.pdf")
    assert sheet.startswith(b"%PDF")
    # What is wider than the sheet would be cut off.
    visit.page.set_viewport_size({"width": 750, "height": 1000})
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 750
    visit.page.close()
