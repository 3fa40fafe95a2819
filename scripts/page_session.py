"""Run blocks of Python one after another in one namespace, in a peer's environment; see scripts/check_migration.py.

Reads lines of JSON with ``code`` and ``place``, and answers each with a line of JSON: ``output``, what the code
printed, and ``error``, its traceback or an empty text. Other output of libraries goes to standard error.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import traceback
from typing import Any

_REMOVED: dict[str, Any] = {"bool": bool, "int": int, "float": float, "complex": complex, "object": object}
"""Names that NumPy 1.24 removed: RecBole 1.2.1 uses some of them before it restores them itself."""


def main() -> None:
    import numpy as np

    for name, kind in _REMOVED.items():
        if name not in vars(np):
            setattr(np, name, kind)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    names: dict[str, Any] = {"__name__": "__main__"}
    for line in sys.stdin:
        asked = json.loads(line)
        printed, error = io.StringIO(), ""
        try:
            with contextlib.redirect_stdout(printed):
                exec(compile(asked["code"], asked["place"], "exec"), names)  # noqa: S102 - the project's own pages
        except Exception:
            error = traceback.format_exc()
        answers.write(json.dumps({"output": printed.getvalue(), "error": error}) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
