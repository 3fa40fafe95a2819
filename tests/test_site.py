"""The site has a place for every page and every public name, and its links lead where the files' links do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scripts import notebooks, site_check, site_links, site_reference
from scripts.site_links import OUTSIDE, ROOT, links, rewrite, site_path

SETTINGS = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")


def test_every_page_has_its_place_in_the_navigation() -> None:
    in_docs = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")}
    placed = {str(site_path(path)) for path in in_docs | set(OUTSIDE)}
    placed |= {f"notebooks/{script.stem}.md" for script in notebooks.scripts()}
    named = set(re.findall(r"^      - (\S+\.md)$", SETTINGS, re.MULTILINE))
    missing = {
        page for page in placed - named if not page.startswith("results")
    }  # these are placed automatically
    assert missing == set()
    assert {page for page in named - placed if not page.startswith("reference/")} == set()


@pytest.mark.parametrize(
    "page", sorted({*OUTSIDE, *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))})
)
def test_every_link_of_a_page_leads_to_something_in_the_repository(page: str) -> None:
    found = list(links((ROOT / page).read_text(encoding="utf-8"), page))
    assert [path for path in found if site_path(path) is None] == []


def test_links_keep_what_they_mean() -> None:
    assert rewrite("[a](docs/auto.md#why)", "README.md") == "[a](auto.md#why)"
    assert rewrite("[a](../README.md)", "docs/auto.md") == "[a](index.md)"
    assert rewrite("[a](../src/mclrec/errors.py)", "docs/auto.md") == "[a](files/src/mclrec/errors.py.md)"
    assert rewrite("[a](../auto.md)", "docs/notebooks/made.md") == "[a](../auto.md)"
    assert rewrite("[a](deploy)", "docs/serving.md") == "[a](files/docs/deploy/contents.md)"
    assert rewrite("![a](docs/images/page-light.png)", "README.md") == "![a](images/page-light.png)"
    assert (
        rewrite("[a](https://example.org) [b](#here)", "README.md") == "[a](https://example.org) [b](#here)"
    )
    assert rewrite("[a](nowhere.md)", "README.md") == "[a](nowhere.md)"
    page = site_links.rewrite_html('<a href="../CONTRIBUTING.md#a">', "docs/leaderboard.html")
    assert page == '<a href="contributing.html#a">'
    code = "```md\n[a](docs/auto.md)\n```\n"
    assert rewrite(code, "README.md") == code


def test_a_folder_shows_its_files_with_their_first_line() -> None:
    page = site_links.folder_page("src/mclrec/losses")
    assert "| `contrastive.py` | " in page
    assert "__pycache__" not in page


def test_the_reference_has_every_public_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "::: mclrec.train\n" in site_reference.python_page()
    monkeypatch.setitem(site_reference.NAMES, "Errors", ("MclrecError",))
    with pytest.raises(ValueError, match="MclrecWarning"):
        site_reference.python_page()


def test_the_reference_has_every_command_and_every_option() -> None:
    page = site_reference.commands_page()
    assert "\n## train\n" in page
    assert "`--setting" not in page
    assert "`--set KEY=VALUE`\n:   Override a setting" in page


@pytest.mark.parametrize(
    ("html", "fault"),
    [
        ('<a href="b.html">b</a>', "b.html leads nowhere"),
        ('<a href="#c">c</a>', "#c leads nowhere"),
        ('<script src="https://unpkg.com/a.js"></script>', "from the network"),
        ('<link rel="stylesheet" href="//fonts.example/a.css">', "from the network"),
        ('<a href="#c">c</a><p id="c"></p><a href="https://example.org">x</a>', None),
    ],
)
def test_what_is_wrong_with_a_built_page_is_found(html: str, fault: str | None, tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(html, encoding="utf-8")
    found = list(site_check.faults(tmp_path))
    assert (found == []) if fault is None else fault in found[0]


def test_a_style_that_loads_a_font_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.css").write_text("@import url('https://fonts.example/a.css');", encoding="utf-8")
    assert [one for one in site_check.faults(tmp_path) if "from the network" in one] != []


def test_a_heading_without_a_docstring_is_found() -> None:
    heading = '<h3 id="mclrec.{}" class="doc doc-heading">x</h3><div class="doc doc-contents first">{}</div>'
    page = heading.format("a", "<p>Told.</p>") + heading.format("b", "") + heading.format("c", "<p>Told.</p>")
    assert list(site_check.untold(page)) == ["mclrec.b"]
