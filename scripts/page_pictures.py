"""Take screenshots of the service's page for the documentation: docs/images/page-light.png and page-dark.png.

python scripts/page_pictures.py runs/demo/mclrec      # any run on complete-journey
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

from playwright.sync_api import Browser, Page, sync_playwright

IMAGES = Path(__file__).parents[1] / "docs" / "images"
HISTORY = ("BANANAS", "SHREDDED CHEESE", "TORTILLA/NACHO CHIPS", "EGGS - LARGE", "FLUID MILK WHITE ONLY")
PORT = 8765
FLAGS = ["--no-sandbox", "--no-first-run", "--disable-background-networking", "--disable-component-update"]


@contextmanager
def service(run: Path) -> Iterator[str]:
    """Serve a run; yields the address once the service is ready."""
    command = [sys.executable, "-m", "mclrec", "serve", str(run), "--port", str(PORT)]
    address = f"http://127.0.0.1:{PORT}/"
    with subprocess.Popen(command) as process:  # noqa: S603 - our own command line
        try:
            while not _ready(address):
                if process.poll() is not None:
                    sys.exit(f"{run}: the service did not start")
                time.sleep(0.2)
            yield address
        finally:
            process.terminate()


def _ready(address: str) -> bool:
    try:
        with urlopen(f"{address}ready"):  # noqa: S310 - our own service
            return True
    except URLError:
        return False


def page(browser: Browser, address: str, scheme: str, size: tuple[int, int]) -> Page:
    """Open the page with a history and wait for its recommendations."""
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if scheme == "dark" else "light",
        reduced_motion="reduce",
    )
    shown = context.new_page()
    shown.goto(f"{address}#{urlencode([('item', item) for item in HISTORY])}")
    shown.locator("#recommendations .why").nth(9).wait_for()
    return shown


def save(shown: Page, name: str) -> None:
    path = IMAGES / f"page-{name}.png"
    shown.screenshot(path=path)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def reasons(shown: Page, place: int) -> None:
    """Open the explanation of a recommendation."""
    shown.locator("#recommendations .why").nth(place).click()
    shown.locator(".differences li").first.wait_for()
    shown.mouse.move(1, 1)


def main(run: Path) -> None:
    chromium = shutil.which("chromium") or sys.exit("chromium is not installed: apt-get install chromium")
    with service(run) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        light = page(browser, address, "light", (1200, 900))
        reasons(light, 1)
        save(light, "light")
        dark = page(browser, address, "dark", (1200, 790))
        dark.locator("#history .without").nth(2).hover()
        dark.locator("#preview p").wait_for()
        save(dark, "dark")
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
