"""Features that need an extra check for it before they begin, or do without it and say so."""

from __future__ import annotations

import ast
import sys
import tomllib
from pathlib import Path

import pytest

from mclrec.errors import ConfigError
from mclrec.extras import EXTRAS, missing, require

SOURCE = Path(__file__).resolve().parents[1] / "src" / "mclrec"
MODULES = {module for extra in EXTRAS.values() for module in extra.packages}
BEHIND = {  # rooms whose modules are imported only after a check
    "report": "report/page.py",
    "search": "search/__init__.py",
    "serving": "cli/commands/serve.py",
}


def imported(tree: ast.AST) -> set[str]:
    """The top-level modules that a syntax tree imports."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(
                "tensorboard"
                if node.module.startswith("torch.utils.tensorboard")
                else node.module.partition(".")[0]
            )
    return found


def without_type_checking(tree: ast.Module) -> ast.Module:
    """The module without the imports that only type checkers see."""
    tree.body = [
        node for node in tree.body if "TYPE_CHECKING" not in ast.dump(getattr(node, "test", ast.Pass()))
    ]
    return tree


def test_every_import_of_an_extra_stands_behind_a_check() -> None:
    unchecked = []
    for path in SOURCE.rglob("*.py"):
        text = path.read_text()
        needed = imported(without_type_checking(ast.parse(text))) & MODULES
        room = path.relative_to(SOURCE).parts[0]
        if needed and "require(" not in text and room not in BEHIND and "check_tracker" not in text:
            unchecked.append((str(path), needed))
    assert unchecked == []
    for checking in BEHIND.values():
        assert "require(" in (SOURCE / checking).read_text()


def test_extras_are_those_of_the_package() -> None:
    project = tomllib.loads((SOURCE.parents[1] / "pyproject.toml").read_text())["project"]
    for extra in EXTRAS.values():
        listed = " ".join(project["optional-dependencies"][extra.name])
        known = listed + " onnx " if "onnxscript" in listed else listed
        assert all(package in known for package in extra.packages.values())


def test_what_is_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert missing("a report") is None
    monkeypatch.setitem(sys.modules, "jinja2", None)
    assert missing("a report") == 'a report needs jinja2 and matplotlib: pip install "mclrec[report]"'
    with pytest.raises(ConfigError, match="a report needs"):
        require("a report")
