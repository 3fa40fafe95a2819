"""The leaderboard in a browser: sorting, filters kept in the address, no scripts, and accessibility."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("jinja2", reason="the extra `report` is not installed")

from tests.test_leaderboard import HOSTILE, write_run, write_submission, write_targets

from mclrec.files import write_text
from scripts.leaderboard import leaderboard

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("board")
    write_targets(folder)
    for seed, model in enumerate(("sasrec", "mclrec", "gru4rec"), 1):
        write_run(folder, model, seed)
    write_run(folder, "markov", 9, config={}, training_seconds=0.0)
    write_run(folder, "sasrec", 5, data={"name": "beauty"})
    write_submission(folder, system=HOSTILE, notes=[HOSTILE], trainings=[{"ranks": "theirs.parquet"}])
    write_text(folder / "board.html", leaderboard(folder))
    return (folder / "board.html").as_uri()


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    shown = context.new_page()
    problems: list[str] = []
    shown.on("pageerror", lambda error: problems.append(str(error)))
    shown.on("dialog", lambda dialog: problems.append(dialog.message))
    shown.on(
        "request", lambda request: problems.extend([request.url] * (not request.url.startswith("file:")))
    )
    shown.goto(f"{address}#")
    yield shown
    context.close()
    assert problems == []


def column(page: Page, head: str, attribute: str | None = None) -> list[str | None]:
    """The visible cells of a column, from top to bottom."""
    return list(
        page.evaluate(
            """([head, attribute]) => {
              const table = document.querySelector("table");
              const place = [...table.tHead.rows[0].cells].findIndex(cell => cell.textContent === head);
              return [...table.tBodies[0].rows].filter(row => !row.hidden)
                .map(row => attribute ? row.cells[place].getAttribute(attribute) : row.cells[place].innerText.trim());
            }""",
            [head, attribute],
        )
    )


def sort(page: Page, head: str) -> None:
    page.get_by_role("button", name=head, exact=True).click()


def show(page: Page, **filters: str) -> None:
    page.get_by_role("button", name="Show all").click()
    for name, value in filters.items():
        page.locator(f"select[name={name}]").select_option(value)


def test_one_data_set_and_protocol_are_shown_at_first(page: Page) -> None:
    assert set(column(page, "Data set", None)) <= {"beauty", ""}
    assert page.locator("output").inner_text() == "1 of 11 rows"
    show(page)
    assert page.locator("output").inner_text() == "11 of 11 rows"


def test_every_column_sorts_both_ways_with_what_is_missing_last(page: Page) -> None:
    show(page)
    heads = page.locator("thead th").all_inner_texts()
    for head in heads:
        head = " ".join(head.split())
        number = column(page, head, "data-number")
        numeric = any(value is not None for value in number)
        sort(page, head)
        if numeric:
            first = [float(value) for value in column(page, head, "data-number") if value]
            assert first == sorted(first, reverse=True), head
        sort(page, head)
        keys = column(page, head, "data-number" if numeric else None)
        if numeric:
            present = [float(value) for value in keys if value]
            assert present == sorted(present), head
            assert not any(keys[len(present) :]), head
        states = page.locator("th[aria-sort]").evaluate_all("heads => heads.map(head => head.ariaSort)")
        assert states == ["ascending" if numeric else "descending"]


def test_sorting_goes_by_the_keyboard(page: Page) -> None:
    show(page)
    page.get_by_role("button", name="HR@5", exact=True).focus()
    page.keyboard.press("Enter")
    assert page.locator("th[aria-sort=descending]").inner_text().startswith("HR@5")
    page.keyboard.press("Space")
    assert page.locator("th[aria-sort=ascending]").inner_text().startswith("HR@5")


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ({"data": "tiny"}, 9),
        ({"data": "tiny", "protocol": "U"}, 5),
        ({"loss": "softmax"}, 8),
        ({"examples": "sequences", "protocol": "F"}, 4),
        ({"origin": "submitted"}, 1),
        ({"origin": "submitted", "loss": "softmax"}, 0),
    ],
)
def test_filters_leave_the_rows_that_fit(page: Page, filters: dict[str, str], count: int) -> None:
    show(page, **filters)
    assert page.locator("tbody tr:visible").count() == count
    assert page.locator("output").inner_text() == f"{count} of 11 rows"


def test_an_address_keeps_the_filters(page: Page) -> None:
    show(page, data="tiny", protocol="F")
    page.reload()
    assert page.locator("select[name=data]").input_value() == "tiny"
    assert page.locator("tbody tr:visible").count() == 4


def test_hostile_names_are_shown_as_they_are(page: Page) -> None:
    show(page, origin="submitted")
    assert page.locator("tbody tr:visible a").first.inner_text() == HOSTILE


def test_without_scripts_the_table_is_whole(browser: Browser, address: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    shown = context.new_page()
    shown.goto(address)
    assert shown.locator("tbody tr:visible").count() == 11
    assert shown.locator("form:visible, thead button").count() == 0
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 800, 1600])
def test_it_is_accessible_and_as_wide_as_the_window(
    browser: Browser, address: str, scheme: str, width: int
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    context = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme="dark" if scheme == "dark" else "light"
    )
    shown = context.new_page()
    shown.goto(f"{address}#protocol=U")
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    found = Axe().run(shown).response["violations"]
    assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []
    context.close()
