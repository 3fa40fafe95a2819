"""Check the built site: ``python -m scripts.site_check site``.

Every link and every anchor leads somewhere, nothing is loaded from the network, and every public name of ``mclrec`` and
every command has its place in the reference. MkDocs checks links between Markdown files; this checks what was built.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

__all__ = ["Page", "faults", "undocumented", "untold"]

_LOADED = {"script": "src", "img": "src", "source": "src", "iframe": "src", "video": "src"}
_STYLE = re.compile(r"""(?:@import\s+|url\()\s*["']?((?:https?:)?//[^"')\s]+)""")


class Page(HTMLParser):
    """The anchors and the links of a built page.

    Args:
        text: HTML.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Record the anchors, links and loaded files of an element."""
        given = {name: value for name, value in attrs if value}
        self.anchors |= {given[name] for name in ("id", "name") if name in given and tag != "meta"}
        target = given.get(_LOADED.get(tag, "href"))
        if tag == "link" and given.get("rel") in ("canonical", "next", "prev"):
            target = None
        if target is None:
            return
        (self.links if tag == "a" else self.loaded).append(target)


def faults(site: Path) -> Iterator[str]:
    """The faults of the site, one line each."""
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
    for path, page in pages.items():
        where = path.relative_to(site)
        for target in [*page.loaded, *page.links]:
            if target in page.loaded and _remote(target):
                yield f"{where}: loads {target} from the network"
            elif not _remote(target) and not _resolves(path, target, pages, site):
                yield f"{where}: {target} leads nowhere"
    for style in sorted(site.rglob("*.css")):
        for address in _STYLE.findall(style.read_text(encoding="utf-8")):
            yield f"{style.relative_to(site)}: loads {address} from the network"


def undocumented(site: Path) -> Iterator[str]:
    """Public names and commands without a heading in the reference, and names without a docstring."""
    import typer

    import mclrec
    from mclrec.cli.app import app

    text = (site / "reference" / "python.html").read_text(encoding="utf-8")
    yield from (f"reference/python.html: {name} has no docstring" for name in untold(text))
    places = {anchor.rpartition(".")[2] for anchor in Page(text).anchors} | {"models", "__version__"}
    yield from (
        f"reference/python.html: mclrec.{name} is missing" for name in mclrec.__all__ if name not in places
    )
    commands = Page((site / "reference" / "commands.html").read_text(encoding="utf-8"))
    for name in getattr(typer.main.get_command(app), "commands", {}):
        if name not in commands.anchors:
            yield f"reference/commands.html: no heading for mclrec {name}"


def untold(text: str) -> Iterator[str]:
    """Names of a reference page whose heading is followed by no text."""
    for part in re.split(r'(?=<h\d id="[^"]+" class="doc doc-heading">)', text)[1:]:
        if not re.search(r'<div class="doc doc-contents[^"]*">\s*<p', part):
            yield part.split('"', 2)[1]


def _remote(target: str) -> bool:
    return bool(urlsplit(target).scheme or target.startswith("//"))


def _resolves(path: Path, target: str, pages: dict[Path, Page], site: Path) -> bool:
    parts = urlsplit(target)
    if parts.path.startswith("/"):
        return path.name == "404.html" and (site / unquote(parts.path).lstrip("/")).exists()
    aim = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if aim.is_dir():
        aim /= "index.html"
    if not aim.is_file() or not aim.is_relative_to(site):
        return False
    known = pages.get(aim)
    return not parts.fragment or known is None or unquote(parts.fragment) in known.anchors


def main() -> None:
    """Print what is wrong, and fail if anything is."""
    site = Path(sys.argv[1]).resolve()
    found = [*faults(site), *undocumented(site)]
    print("\n".join(found))
    if found:
        sys.exit(f"{site.name}: {len(found)} faults")
    print(
        f"{site.name}: {len(list(site.rglob('*.html')))} pages, every link leads somewhere, nothing from the network"
    )


if __name__ == "__main__":
    main()
