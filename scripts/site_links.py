"""Map links between files of the repository to places on the site.

The pages of the site are the repository's own Markdown files. Their links lead to files of the repository: to other
pages, source files, folders and result files. Pages have another place on the site, and other targets of links are
added beside them: a folder as a list of its files, a source file as a page, any other file as it is.
"""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Callable, Iterator
from pathlib import Path

__all__ = ["OUTSIDE", "ROOT", "folder_page", "links", "rewrite", "rewrite_html", "site_path", "source_page"]

ROOT = Path(__file__).parents[1]

OUTSIDE = {
    "README.md": "index.md",
    "docs/index.md": "contents.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
    "src/mclrec/data/bundled/DATA_CARD.md": "data-card.md",
}
"""Pages whose place on the site is not their place below ``docs``, by their path in the repository."""

_FENCE = re.compile(r"^(?:```.*?^```|~~~.*?^~~~)[^\n]*$", re.MULTILINE | re.DOTALL)
_HREF = re.compile(r'(?<=href=")(?!https?:|mailto:|data:|#)([^"#]+)(#[^"]*)?(?=")')
_LINK = re.compile(r"(?<=\]\()(?!https?:|mailto:|#)([^)\s#]+)(#[^)\s]*)?(?=[)\s])")


def site_path(path: str, root: Path = ROOT) -> str | None:
    """The path on the site of a file or folder of the repository; None if the repository does not have it."""
    if path in OUTSIDE:
        return OUTSIDE[path]
    if (root / path).is_dir():
        return f"files/{path}/contents.md"
    if not (root / path).is_file() or path.startswith("../"):
        return None
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return f"files/{path}.md" if path.endswith(".py") else f"files/{path}"


def rewrite(text: str, path: str, root: Path = ROOT) -> str:
    """Rewrite the links of a page to places on the site; a link that leads nowhere stays, and the build refuses it.

    Args:
        text: Markdown.
        path: path of the page in the repository.
        root: folder of the repository.
    """
    here = posixpath.dirname(
        site_path(path, root) or path.removeprefix("docs/")
    )  # a notebook's page is not a file

    def changed(link: re.Match[str]) -> str:
        target = site_path(_named(link[1], path), root)
        return link[0] if target is None else posixpath.relpath(target, here or ".") + (link[2] or "")

    return _outside_code(text, lambda part: _LINK.sub(changed, part))


def rewrite_html(text: str, path: str, root: Path = ROOT) -> str:
    """Rewrite the links of an HTML page to places on the site."""
    here = posixpath.dirname(site_path(path, root) or "") or "."

    def changed(link: re.Match[str]) -> str:
        target = site_path(_named(link[1], path), root)
        return (
            link[0]
            if target is None
            else posixpath.relpath(re.sub(r"\.md$", ".html", target), here) + (link[2] or "")
        )

    return _HREF.sub(changed, text)


def links(text: str, path: str) -> Iterator[str]:
    """The files and folders of the repository that a page links to."""
    pattern, text = (_HREF, text) if path.endswith(".html") else (_LINK, _FENCE.sub("", text))
    for link in pattern.finditer(text):
        yield _named(link[1], path)


def folder_page(path: str, root: Path = ROOT) -> str:
    """The page of a folder: its files, those of Python with the first paragraph of their docstring."""
    found = [f"# {path}\n"]
    package = root / path / "__init__.py"
    if package.exists():
        found.append(f"{_docstring(package)}\n")
    found += ["| file | what |", "| --- | --- |"]
    for file in sorted((root / path).iterdir()):
        if file.name.startswith((".", "__")):
            continue
        name = f"`{file.name}/`" if file.is_dir() else f"`{file.name}`"
        inside = file / "__init__.py" if file.is_dir() else file
        what = _docstring(inside).partition("\n\n")[0] if inside.suffix == ".py" and inside.exists() else ""
        found.append(f"| {name} | {' '.join(what.split()).replace('|', chr(92) + '|')} |")
    return "\n".join(found) + "\n"


def source_page(path: str, root: Path = ROOT) -> str:
    """The page of a file of Python code."""
    text = (root / path).read_text(encoding="utf-8")
    return f"# {path}\n\n````python\n{text}````\n"


def _named(link: str, path: str) -> str:
    """The path in the repository that a link of a page leads to."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), link))


def _outside_code(text: str, change: Callable[[str], str]) -> str:
    """Apply a change to the parts of a text that are not blocks of code."""
    found, end = [], 0
    for block in _FENCE.finditer(text):
        found += [change(text[end : block.start()]), block[0]]
        end = block.end()
    return "".join([*found, change(text[end:])])


def _docstring(file: Path) -> str:
    return ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
