"""The service's web page in Chromium, with a real service in this process and a real model of named items."""

from __future__ import annotations

import asyncio
import math
import re
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus, urlencode

import pytest

pytest.importorskip("uvicorn", reason="the extra `serve` is not installed")

import uvicorn
from tests.helpers import tiny_data

import mclrec
from mclrec.data.vocabulary import OutsideId, Vocabulary
from mclrec.errors import MclrecWarning
from mclrec.inference.runtime import load_runtime
from mclrec.serving.rest.keys import Keys
from mclrec.serving.rest.model_store import ModelStore
from mclrec.serving.rest.routes import make_app
from mclrec.serving.rest.settings import Settings
from mclrec.serving.rest.telemetry import Metrics

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

NAMES = [
    "BANANAS",
    "Crème brûlée",
    "日本茶",
    "<b>Bread</b> & \"butter\" 'n' salt",
    "Salt/Pepper, 100% ground?",
    "Milk",
    "A name so long that it has to be wrapped somewhere, " + "Donaudampfschifffahrtsgesellschaft" * 2,
    "Coffee",
    "Tea",
    "Sugar",
    "Eggs",
    "Flour",
    "Rice",
    "Oil",
    "Soap",
]
PATIENCE = 60_000  # timeout in milliseconds: the machine may be busy


class Running:
    """A service in a thread, on a port that it keeps when it is stopped and started again."""

    def __init__(self, directory: Path, key: str | None = None, titles: Sequence[str] = ()) -> None:
        self._service = load_runtime(directory).with_titles(titles)
        self._keys = None if key is None else Keys([key])
        self._port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/"

    def start(self) -> None:
        listening = socket.create_server(("127.0.0.1", self._port))  # accepts connections from here on
        self._port = listening.getsockname()[1]
        self._up = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(listening)))
        self._thread.start()
        self._up.wait()

    async def _serve(self, listening: socket.socket) -> None:
        settings, metrics = Settings.of(deadline=30), Metrics()  # the machine may be busy
        models = ModelStore(lambda: self._service, self._service, settings, metrics)
        app = make_app(models, settings, metrics, self._keys)
        config = uvicorn.Config(app, lifespan="off", log_config=None, timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        self._up.set()
        await self._server.serve([listening])

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()


@contextmanager
def running(directory: Path, key: str | None = None, titles: Sequence[str] = ()) -> Iterator[Running]:
    service = Running(directory, key, titles)
    try:
        yield service
    finally:
        service.stop()


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of named items that has learnt that each item follows the previous one."""
    data = replace(tiny_data(users=60), item_ids=Vocabulary(NAMES))
    out = tmp_path_factory.mktemp("model") / "named"
    train = partial(mclrec.train, data, "sasrec", out=out, progress=False)
    train = partial(train, hidden_size=16, layers=1, max_length=10, batch_size=16)
    train(epochs=5, learning_rate=0.01, cycle=None)
    return out


@pytest.fixture(scope="module")
def model(directory: Path) -> mclrec.Model:
    return mclrec.Model.load(directory)


@pytest.fixture(scope="module")
def service(directory: Path) -> Iterator[Running]:
    with running(directory) as service:
        yield service


class Visit:
    """Pages of one test, and all their errors, warnings and failed requests."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self.complaints: list[str] = []

    def open(self, url: str, width: int = 1280, height: int = 900, scheme: str = "light") -> Page:
        context = self._browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if scheme == "dark" else "light",
            has_touch=width < 500,
            reduced_motion="reduce",
        )
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        page.on("console", lambda said: self._hear(said.type, said.text))
        page.on("pageerror", lambda error: self._hear("error", str(error)))
        page.on("requestfailed", lambda request: self._hear("failed", f"{request.url} {request.failure}"))
        page.goto(url)
        return page

    def _hear(self, kind: str, text: str) -> None:
        given_up = kind == "failed" and "ERR_ABORTED" in text  # a cancelled request
        if kind in ("error", "warning", "failed") and not given_up:
            self.complaints.append(f"{kind}: {text}")

    def close(self) -> None:
        for context in self._browser.contexts:
            context.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    visiting = Visit(browser)
    yield visiting
    visiting.close()
    assert visiting.complaints == []


def names(page: Page, where: str) -> list[str]:
    return page.locator(f"#{where} .row:not(.gone) .body .name").all_text_contents()


def address(service: Running, *items: OutsideId, **more: object) -> str:
    return f"{service.url}#{urlencode([*(('item', item) for item in items), *more.items()])}"


def expect_names(page: Page, where: str, wanted: list[Any]) -> None:
    from playwright.sync_api import expect

    locator = page.locator(f"#{where} .row:not(.gone) .body .name")
    expect(locator).to_have_text([str(name) for name in wanted], timeout=PATIENCE)


def best(model: mclrec.Model, *history: str, k: int = 10, include_seen: bool = False) -> list[OutsideId]:
    return [item for item, _ in model.recommend(history, k, include_seen=include_seen)]


def popular(model: mclrec.Model, k: int = 10) -> list[OutsideId]:
    with pytest.warns(MclrecWarning):
        return best(model, k=k)


def test_a_history_is_built_by_clicking(visit: Visit, service: Running, model: mclrec.Model) -> None:
    page = visit.open(service.url)
    expect_names(page, "recommendations", popular(model))
    page.get_by_role("button", name="Coffee", exact=True).click()
    expect_names(page, "history", ["Coffee"])
    expect_names(page, "recommendations", best(model, "Coffee"))

    chosen = str(best(model, "Coffee")[2])
    page.locator("#recommendations .body").nth(2).click()
    expect_names(page, "history", ["Coffee", chosen])
    expect_names(page, "recommendations", best(model, "Coffee", chosen))

    page.reload()
    expect_names(page, "history", ["Coffee", chosen])
    page.get_by_role("button", name="Remove Coffee").click()
    expect_names(page, "recommendations", best(model, chosen))
    page.get_by_role("button", name="Undo").click()
    expect_names(page, "history", ["Coffee", chosen])
    page.get_by_role("button", name="Clear").click()
    expect_names(page, "recommendations", popular(model))
    assert page.url == service.url


def test_how_many_and_which(visit: Visit, service: Running, model: mclrec.Model) -> None:
    page = visit.open(address(service, "Tea", "Milk"))
    page.get_by_role("radio", name="5", exact=True).check(force=True)
    expect_names(page, "recommendations", best(model, "Tea", "Milk", k=5))
    page.get_by_role("switch", name="Include items of the history").check(force=True)
    expect_names(page, "recommendations", best(model, "Tea", "Milk", k=5, include_seen=True))
    assert page.url == address(service, "Tea", "Milk", k=5, seen=1)
    assert page.get_by_role("radio", name="50").is_disabled()  # there are 15 items


def test_the_old_list_stays_until_the_newest_answer(
    visit: Visit, service: Running, model: mclrec.Model
) -> None:
    page = visit.open(address(service, "Tea"))
    expect_names(page, "recommendations", best(model, "Tea"))
    held: list[Any] = []
    page.route("**/recommend", lambda route: held.append(route), times=1)
    page.get_by_role("button", name="Add Coffee").click()
    page.locator("#recommendations[aria-busy=true]").wait_for()
    expect_names(page, "recommendations", best(model, "Tea"))
    page.get_by_role("button", name="Remove Tea").click()  # the previous answer is not awaited
    expect_names(page, "recommendations", best(model, "Coffee"))
    page.locator("#recommendations[aria-busy=false]").wait_for()
    assert len(held) == 1


def test_an_example(visit: Visit, service: Running, model: mclrec.Model) -> None:
    disabled: list[bool] = []
    page = visit.open(service.url)
    button = page.get_by_role("button", name="Try an example")

    def late(route: Any) -> None:
        disabled.append(button.is_disabled())
        route.continue_()

    page.route("**/items?*", late, times=1)
    page.reload()
    expect_names(page, "recommendations", popular(model))
    button.click()
    assert disabled == [True]  # until there are items to sample from
    page.locator("#history .row").nth(3).wait_for()
    assert len(set(names(page, "history"))) == 4
    assert set(names(page, "history")) <= set(popular(model, 12))


def test_by_keyboard_alone(visit: Visit, service: Running, model: mclrec.Model) -> None:
    page = visit.open(service.url)
    expect_names(page, "recommendations", popular(model))
    press = page.keyboard.press
    press("/")
    page.keyboard.type("creme", delay=5)
    press("Enter")  # before the answer arrives: the best match is taken then
    expect_names(page, "history", ["Crème brûlée"])
    page.keyboard.type("o")
    options = page.get_by_role("option")
    options.nth(2).wait_for()
    second = options.nth(1).locator(".name").text_content()
    assert second != "Crème brûlée"
    press("ArrowDown")
    active = page.get_by_role("combobox").get_attribute("aria-activedescendant")
    assert page.locator(f"[id='{active}'] .name").text_content() == second
    press("Enter")
    expect_names(page, "history", ["Crème brûlée", second])
    press("Tab")
    press("Alt+ArrowDown")
    expect_names(page, "history", [second, "Crème brûlée"])
    expect_names(page, "recommendations", best(model, str(second), "Crème brûlée"))
    assert page.evaluate("document.activeElement.ariaLabel") == "Move Crème brûlée"
    press("Delete")
    expect_names(page, "history", [second])
    assert page.evaluate("document.activeElement.querySelector('.name').textContent") == second  # not lost
    press("Control+z")
    expect_names(page, "history", [second, "Crème brûlée"])


def test_search_says_what_it_finds(visit: Visit, service: Running) -> None:
    page = visit.open(service.url)
    field = page.get_by_role("combobox", name="Search items")
    field.fill("SALT/p")
    option = page.get_by_role("option")
    option.locator("mark", has_text="Salt/P").wait_for()
    assert field.get_attribute("aria-expanded") == "true"
    field.press("Escape")
    assert field.get_attribute("aria-expanded") == "false"
    field.fill("nothing like it")
    page.get_by_text("Nothing is called “nothing like it”.").wait_for()
    field.press("Enter")
    assert names(page, "history") == []


def test_dragging(visit: Visit, service: Running, model: mclrec.Model) -> None:
    page = visit.open(address(service, "Tea", "Milk", "Rice"))
    expect_names(page, "recommendations", best(model, "Tea", "Milk", "Rice"))

    def drag(name: str, onto: str) -> None:
        page.get_by_role("button", name=f"Move {name}", exact=True).hover()
        page.mouse.down()
        target = page.get_by_role("button", name=f"Move {onto}", exact=True).bounding_box()
        assert target is not None
        page.mouse.move(target["x"] + 5, target["y"] + target["height"] - 4, steps=6)

    drag("Tea", "Rice")
    page.mouse.up()
    expect_names(page, "history", ["Milk", "Rice", "Tea"])
    expect_names(page, "recommendations", best(model, "Milk", "Rice", "Tea"))
    drag("Milk", "Tea")
    page.keyboard.press("Escape")
    page.mouse.up()
    expect_names(page, "history", ["Milk", "Rice", "Tea"])


def test_because_of(visit: Visit, service: Running, model: mclrec.Model) -> None:
    def differences(history: Sequence[str], item: OutsideId) -> dict[str, float]:
        def score(items: Sequence[str]) -> float:
            return dict(model.recommend(items, len(NAMES), include_seen=True))[item]

        return {
            name: score(history) - score([other for other in history if other != name]) for name in history
        }

    def told(history: Sequence[str], item: OutsideId) -> bool:
        """Whether the page shows all differences: it hides those that round to zero."""
        return min(map(abs, differences(history, item).values())) > 0.01

    history, item = next(
        (history, item)
        for history in permutations(NAMES, 3)
        for item in best(model, *history)
        if told(history, item) and told(history[::2], item)
    )
    page = visit.open(address(service, *history))
    wanted = differences(history, item)
    page.get_by_role("button", name=f"Why {item}").click()
    rows = page.locator(".differences li")
    rows.nth(2).wait_for()
    for title, sign in (("For", 1), ("Against", -1)):
        own = sorted(
            (name for name in history if sign * wanted[name] > 0), key=lambda name: -abs(wanted[name])
        )
        shown = page.locator(f"h3:text-is('{title}') + .differences li")
        assert shown.locator(".name").all_inner_texts() == own
        numbers = [f"{wanted[name]:+.2f}".replace("-", "\u2212") for name in own]
        assert shown.locator(".number").all_inner_texts() == numbers

    page.get_by_role("button", name=f"Remove {history[1]}").click()  # the panel stays open and follows
    rows.nth(2).wait_for(state="detached")
    assert rows.count() == 2


def test_without_an_item(visit: Visit, service: Running, model: mclrec.Model) -> None:
    history = ["Tea", "Milk", "Rice"]
    page = visit.open(address(service, *history, k=5))
    whole = best(model, *history, k=5)
    less = [item for item, _ in model.recommend(["Tea", "Milk"], 5, exclude=["Rice"])]
    removed = best(model, "Tea", "Milk", k=5)
    assert "Rice" in best(
        model, "Tea", "Milk", k=len(NAMES) - 2
    )  # it would be recommended, but the list without it excludes it
    expect_names(page, "recommendations", whole)
    without = page.get_by_role("button", name="The list without Rice")
    without.hover()
    expect_names(page, "recommendations", less)
    gone = page.locator("#recommendations .gone .name").all_text_contents()
    assert sorted(gone) == sorted(map(str, set(whole) - set(less)))
    moves = page.locator("#recommendations .row:not(.gone) .move").all_text_contents()
    assert moves == [moved(whole, less, item) for item in less]
    page.mouse.move(5, 5)
    expect_names(page, "recommendations", whole)
    expect_names(page, "history", history)

    without.click()
    page.mouse.move(5, 5)
    expect_names(page, "recommendations", less)  # stays after the click
    page.get_by_role("button", name="Keep it").click()
    expect_names(page, "recommendations", whole)
    without.click()
    page.get_by_role("button", name="Remove it").click()
    expect_names(page, "history", ["Tea", "Milk"])
    expect_names(page, "recommendations", removed)


def moved(before: list[OutsideId], after: list[OutsideId], item: OutsideId) -> str:
    if item not in before:
        return "new"
    way = before.index(item) - after.index(item)
    return f"{'↑' if way > 0 else '↓'} {abs(way)}" if way else ""


def test_a_single_item_has_no_reasons(visit: Visit, service: Running) -> None:
    page = visit.open(address(service, "Tea", "a stranger"))
    page.locator("#recommendations .why").first.click()
    page.locator(".because").get_by_text("there is nothing to compare the list with").wait_for()
    assert page.locator(".differences").count() == 0


def test_what_is_said_of_a_long_history(visit: Visit, service: Running, model: mclrec.Model) -> None:
    """The model reads ten items: no more are counted, and a repeated unknown item does not count at all."""
    history = [*NAMES, *NAMES, "a stranger", "a stranger"]
    page = visit.open(address(service, *history, seen=1))
    expect_names(page, "recommendations", best(model, *history[:-2], include_seen=True))
    page.locator("#recommendations-note").get_by_text("after the newest 10 of 30 items").wait_for()
    page.locator("#recommendations .why").first.click()
    note = page.locator(".because .aside")
    note.get_by_text("The model reads the newest 10 items; older ones have no say.").wait_for()
    shown = page.locator(".differences li")
    places = [int(text) for text in shown.locator(".place").all_inner_texts()]
    assert min(places) > 20
    assert f"{10 - len(places)} more items moved it less." in (note.text_content() or "")


def test_recommendations_stay_in_sight(visit: Visit, service: Running) -> None:
    history = NAMES * 6
    page = visit.open(address(service, *history, seen=1), width=1440)
    page.locator("#recommendations .row").nth(9).wait_for()
    page.locator("#history .row").nth(85).scroll_into_view_if_needed()
    assert page.evaluate("scrollY") > 1000
    top = page.locator("#recommendations .row").first.bounding_box()
    assert top is not None
    assert 0 <= top["y"] < 900

    phone = visit.open(address(service, *history, seen=1), width=390, height=844)
    phone.locator("#recommendations .row").nth(9).wait_for()
    heading = phone.locator("#recommendations-title").bounding_box()
    assert heading is not None
    assert heading["y"] < 600
    assert phone.locator("#history .row").last.is_visible()  # the newest items are in view
    box, last = (phone.locator(one).bounding_box() for one in ("#history", "#history .row:last-child"))
    assert box is not None
    assert last is not None
    assert last["y"] + last["height"] <= box["y"] + box["height"] + 1


def test_bars_are_shares_beside_the_first(visit: Visit, service: Running, model: mclrec.Model) -> None:
    page = visit.open(address(service, "Tea", "Milk"))
    expect_names(page, "recommendations", best(model, "Tea", "Milk"))
    scores = [score for _, score in model.recommend(["Tea", "Milk"])]
    bars = page.locator("#recommendations .bar").evaluate_all(
        "all => all.map(one => one.style.getPropertyValue('--share'))"
    )
    assert [float(bar) for bar in bars] == pytest.approx(
        [max(math.exp(one - scores[0]), 0.01) for one in scores], abs=1e-4
    )


def follow(page: Page, link: str) -> None:
    """Click a link and wait until its page is loaded: a heading can appear before the style sheet."""
    with page.expect_navigation(wait_until="load"):
        page.get_by_role("link", name=link).click()


def test_the_description_of_the_interface(visit: Visit, service: Running) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page = visit.open(service.url)
    follow(page, "API")
    page.get_by_role("heading", name="POST /recommend", exact=True).wait_for()
    assert page.evaluate("getComputedStyle(document.querySelector('.panel')).borderTopLeftRadius") == "16px"
    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    assert [fault["id"] for fault in found] == []
    page.set_viewport_size({"width": 360, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    follow(page, "The page")
    page.get_by_role("heading", name="Recommendations").wait_for()


def test_similar_items_and_the_card(visit: Visit, service: Running, model: mclrec.Model) -> None:
    page = visit.open(address(service, "Salt/Pepper, 100% ground?"))
    page.locator("#history .body").click()
    page.get_by_role("button", name="Similar items").click()
    row = page.get_by_role("dialog").locator(".row .body").first
    name = row.locator(".name").text_content()
    row.click()
    expect_names(page, "history", ["Salt/Pepper, 100% ground?", name])
    page.get_by_role("button", name="About the model").click()
    card = page.get_by_role("dialog", name="About the model")
    first, *worth = card.locator(".card > p").all_inner_texts()
    assert re.fullmatch(r"sasrec, trained on tiny \(15 items\) on \d+ \w+ \d{4}\.", first)
    found = {label: [model.info["metrics"][label][f"HR@{k}"] for k in (10,)] for label in ("F", "U")}
    for text, label in zip(worth, ("F", "U"), strict=True):
        assert f"({label}): of the next items of 60 test users, it had {100 * found[label][0]:.1f} %" in text
        assert "Chance would have 66.7 %" in text
    assert not card.get_by_text("Max length").is_visible()  # settings are folded
    card.get_by_text("Settings").click()
    assert card.get_by_text("Max length").is_visible()
    page.keyboard.press("Escape")
    assert card.count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_bars_anyone(visit: Visit, service: Running, model: mclrec.Model, scheme: str) -> None:
    """axe finds no accessibility violations (WCAG AA contrast, names, roles)."""
    from axe_playwright_python.sync_playwright import Axe

    def faults() -> list[str]:
        found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
        return [f"{fault['id']}: {node['html']}" for fault in found for node in fault["nodes"]]

    page = visit.open(service.url, scheme=scheme)
    expect_names(page, "recommendations", popular(model))
    assert faults() == []
    page.goto(address(service, "Tea", "Milk", "a stranger", k=5))
    page.reload()
    page.locator("#recommendations .why").first.click()
    page.locator(".differences li").first.wait_for()
    assert faults() == []
    page.get_by_role("button", name="The list without Milk").click()
    page.get_by_role("button", name="Keep it").wait_for()
    assert faults() == []
    page.get_by_role("button", name="About the model").click()
    page.get_by_role("dialog").wait_for()
    assert faults() == []


def test_light_and_dark(visit: Visit, service: Running) -> None:
    def lightness(page: Page) -> float:
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return float(re.findall(r"[\d.]+", colour)[0])

    page = visit.open(service.url, scheme="dark")
    assert lightness(page) < 0.3
    page.get_by_role("button", name="Change to light").click()
    assert lightness(page) > 0.9
    page.reload()
    assert lightness(page) > 0.9
    page.get_by_role("button", name="Change to dark").click()
    assert lightness(page) < 0.3


@pytest.mark.parametrize("width", [320, 360, 768])
def test_narrow_screens_scroll_one_way(visit: Visit, service: Running, width: int) -> None:
    page = visit.open(address(service, *NAMES[:7]), width=width)
    page.locator("#recommendations .why").first.click()
    page.locator(".differences li").first.wait_for()
    page.locator("#history .body").first.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator("#history .without").first.tap() if width < 500 else page.locator(
        "#history .without"
    ).first.click()
    page.get_by_role("button", name="Remove it").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_names_are_text(visit: Visit, service: Running) -> None:
    page = visit.open(address(service, *NAMES[:4]))
    expect_names(page, "history", NAMES[:4])
    page.locator("#recommendations .row").first.wait_for()
    assert page.locator("main b").count() == 0


def test_unknown_items_are_marked(visit: Visit, service: Running, model: mclrec.Model) -> None:
    page = visit.open(address(service, "Tea", "a stranger"))
    page.locator("#history .unknown .tag").get_by_text("not known to this model").wait_for()
    assert page.locator("#history .unknown").count() == 1
    expect_names(page, "recommendations", best(model, "Tea"))
    assert page.get_by_role("button", name="The list without a stranger").is_disabled()


def test_a_list_of_popular_items_says_so(visit: Visit, service: Running, model: mclrec.Model) -> None:
    page = visit.open(address(service, "a stranger"))
    expect_names(page, "recommendations", popular(model))
    page.locator("#recommendations-note").get_by_text("for the model knows none of the history").wait_for()
    page.goto(address(service, "Tea"))
    page.reload()
    expect_names(page, "recommendations", best(model, "Tea"))
    page.get_by_role("button", name="The list without Tea").click()
    page.locator("#preview").get_by_text("so this is what is popular").wait_for()
    assert "Tea" not in names(page, "recommendations")


def test_integer_ids_and_a_model_without_vectors(visit: Visit, tmp_path: Path) -> None:
    data = replace(tiny_data(), item_ids=Vocabulary(list(range(100, 115))))
    mclrec.train(data, "markov", out=tmp_path / "markov", progress=False)
    with running(tmp_path / "markov") as service:
        page = visit.open(address(service, 101))
        page.locator("#recommendations .body").first.click()
        page.locator("#history .row").nth(1).wait_for()
        assert all(name.isdigit() for name in names(page, "history"))
        page.locator("#history .body").first.click()
        page.get_by_role("button", name="Similar items").click()
        page.get_by_role("dialog").get_by_text("item vectors").wait_for()
    assert [said for said in visit.complaints if "409" not in said] == []
    visit.complaints.clear()


def test_ids_that_javascript_would_round(visit: Visit, tmp_path: Path) -> None:
    first = 2**53  # from here on, JavaScript numbers are not exact
    data = replace(tiny_data(), item_ids=Vocabulary(list(range(first, first + 15))))
    mclrec.train(data, "markov", out=tmp_path / "markov", progress=False)
    model = mclrec.Model.load(tmp_path / "markov")
    with running(tmp_path / "markov") as service:
        page = visit.open(address(service, first + 1))
        expect_names(page, "recommendations", best(model, str(first + 1)))
        odd = next(place for place, item in enumerate(best(model, str(first + 1))) if int(item) % 2)
        page.locator("#recommendations .body").nth(odd).click()
        chosen = str(best(model, str(first + 1))[odd])
        expect_names(page, "history", [first + 1, chosen])
        expect_names(page, "recommendations", best(model, str(first + 1), chosen))
        assert page.locator("#history .unknown").count() == 0


def test_a_service_that_is_away_and_comes_back(visit: Visit, directory: Path, model: mclrec.Model) -> None:
    with running(directory) as service:
        page = visit.open(address(service, "Tea"))
        expect_names(page, "recommendations", best(model, "Tea"))
        service.stop()
        page.get_by_role("button", name="Remove Tea").click()
        page.get_by_role("alert").get_by_text("The service does not answer.").wait_for()
        service.start()
        page.get_by_role("button", name="Try again").click()
        expect_names(page, "recommendations", popular(model))
        assert not page.get_by_role("alert").is_visible()
    assert visit.complaints
    assert [said for said in visit.complaints if "ERR_CONNECTION" not in said] == []
    visit.complaints.clear()


def test_a_busy_service_is_asked_again(visit: Visit, service: Running, model: mclrec.Model) -> None:
    page = visit.open(address(service, "Tea"))
    expect_names(page, "recommendations", best(model, "Tea"))
    busy = {"status": 503, "headers": {"Retry-After": "1"}, "json": {"detail": "the queue is full"}}
    page.route("**/recommend", lambda route: route.fulfill(**busy), times=1)
    page.get_by_role("button", name="Remove Tea").click()
    page.get_by_role("alert").get_by_text("The service has its hands full.").wait_for()
    expect_names(page, "recommendations", popular(model))  # retried automatically
    assert [said for said in visit.complaints if "503" not in said] == []
    visit.complaints.clear()


def test_what_cannot_be_answered_is_said(visit: Visit, service: Running) -> None:
    page = visit.open(address(service, "Tea"))
    refused = {"status": 422, "json": {"detail": "the history has 999 items, at most 200 are taken"}}
    page.route("**/recommend", lambda route: route.fulfill(**refused), times=1)
    page.get_by_role("button", name="Remove Tea").click()
    page.get_by_role("alert").get_by_text("at most 200 are taken").wait_for()
    assert [said for said in visit.complaints if "422" not in said] == []
    visit.complaints.clear()


def test_an_api_key_is_asked_for(visit: Visit, directory: Path, model: mclrec.Model) -> None:
    with running(directory, key="open-sesame-open") as service:
        page = visit.open(address(service, "Tea"))
        for key, said in (("wrong", "those who have a key"), ("open-sesame-open", "does not take this key")):
            page.get_by_role("dialog").get_by_text(said).wait_for()
            page.get_by_role("textbox", name="API key").fill(key)
            page.keyboard.press("Enter")
        expect_names(page, "recommendations", best(model, "Tea"))
        assert page.get_by_role("dialog").count() == 0
        assert not page.locator("#api-link").is_visible()  # a link sends no key
        page.reload()
        expect_names(page, "recommendations", best(model, "Tea"))  # kept for the tab
        assert page.evaluate("localStorage.length") == 0
    assert [said for said in visit.complaints if "401" not in said] == []
    visit.complaints.clear()


def test_items_are_called_by_their_titles(visit: Visit, directory: Path, model: mclrec.Model) -> None:
    """Includes a history from the URL, whose titles arrive with the first answer; the URL keeps the ids."""
    ids = list(model.items)
    titles = ["", "", *(f"Title of {item}" for item in ids[1:])]  # the first item has none
    title = dict(zip(ids, titles[1:], strict=True))
    history = [ids[0], ids[3]]
    with running(directory, titles=titles) as service:
        page = visit.open(f"{service.url}#{urlencode([('item', item) for item in history])}")
        page.wait_for_selector("#recommendations .row")
        expected = [title[item] or str(item) for item, _ in model.recommend(history, 10)]
        assert names(page, "recommendations") == expected
        page.wait_for_function(
            "document.querySelectorAll('#history .row .name')[1].textContent.startsWith('Title')"
        )
        assert names(page, "history") == [str(ids[0]), title[ids[3]]]
        assert page.get_by_role("button", name=f"Remove {title[ids[3]]}").count() == 1
        page.fill("#search", "title of tea")
        page.locator("#search-list [role=option]").first.click()
        page.wait_for_function("document.querySelectorAll('#history .row').length === 3")
        assert names(page, "history")[-1] == "Title of Tea"
        assert "Tea" in unquote_plus(page.url)
        assert "Title" not in page.url
