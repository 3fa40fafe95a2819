"""MkDocs hooks that make a site of the repository's files: see mkdocs.yml and ``make docs``."""

from __future__ import annotations

import base64
import posixpath
from collections.abc import Iterator
from typing import Any

from mkdocs.structure.files import File, Files

from scripts import notebooks
from scripts.site_links import (
    OUTSIDE,
    ROOT,
    folder_page,
    links,
    rewrite,
    rewrite_html,
    site_path,
    source_page,
)
from scripts.site_reference import commands_page, models_page, python_page

_INSIDE = {place: path for path, place in OUTSIDE.items()}
_UNSEARCHED = "---\nsearch:\n  exclude: true\n---\n\n"


def on_config(config: Any) -> Any:
    """Add the pages of results, one per data set, and the leaderboard to the navigation."""
    [results] = [section["Results"] for section in config.nav if "Results" in section]
    docs = ROOT / "docs"
    pages = sorted(page.relative_to(docs).as_posix() for page in docs.rglob("*.md"))
    results += [page for page in pages if page.startswith("results") and page not in results]
    if (docs / "leaderboard.html").exists():
        results.insert(0, {"Leaderboard": "leaderboard.html"})
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages outside docs/, the reference, and what pages link to."""
    if index := files.get_file_from_path("index.md"):
        files.remove(index)
    for path, place in OUTSIDE.items():
        files.append(File.generated(config, place, abs_src_path=str(ROOT / path)))
    made = {"python": python_page, "commands": commands_page, "models": models_page}
    for name, text_of in made.items():
        files.append(File.generated(config, f"reference/{name}.md", content=text_of()))
    for file in _notebook_files(config):
        files.append(file)
    for path in sorted(_linked(files)):
        _add_file(path, files, config)
    for page in [
        file for file in files if file.src_uri.endswith(".html") and file.src_dir == config.docs_dir
    ]:
        text = rewrite_html(page.content_string, f"docs/{page.src_uri}")
        files.remove(page)
        files.append(File.generated(config, page.src_uri, content=text))
    return files


def _notebook_files(config: Any) -> Iterator[File]:
    """A page for each notebook, and its pictures."""
    for script in notebooks.scripts():
        made, name = notebooks.written(script), script.stem
        yield File.generated(config, f"notebooks/{name}.md", content=notebooks.page(made, name))
        for picture, text in notebooks.pictures(made, name).items():
            yield File.generated(config, f"notebooks/{picture}", content=base64.b64decode(text))


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Rewrite the links of a page so that they lead to places on the site."""
    place = page.file.src_uri
    if place.startswith(("files/", "reference/")):
        return markdown
    return rewrite(markdown, _INSIDE.get(place, f"docs/{place}"))


def _linked(files: Files) -> set[str]:
    """Files and folders that pages link to and that the site does not have yet."""
    found = set()
    pages = [*files.documentation_pages(), *(file for file in files if file.src_uri.endswith(".html"))]
    for file in pages:
        path = _INSIDE.get(file.src_uri, f"docs/{file.src_uri}")
        if not file.src_uri.startswith("reference/"):
            found |= set(links(file.content_string, path))
    return {path for path in found if (place := site_path(path)) and not files.get_file_from_path(place)}


def _add_file(path: str, files: Files, config: Any) -> None:
    place = site_path(path)
    assert place is not None
    if (ROOT / path).is_dir():
        new = File.generated(config, place, content=_UNSEARCHED + folder_page(path))
    elif place.endswith(".py.md"):
        new = File.generated(config, place, content=_UNSEARCHED + source_page(path))
    else:
        new = File.generated(config, place, abs_src_path=str(ROOT / path))
    if posixpath.splitext(place)[1] == ".md":
        new.inclusion = new.inclusion.NOT_IN_NAV
    files.append(new)
