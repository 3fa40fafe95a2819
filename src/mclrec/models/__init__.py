"""Models, one file per paper, with their interface, their registry and their storage.

``mclrec.models`` is this package, and ``mclrec.models()`` lists the models. Python binds an imported subpackage to its
name in the parent package and would replace a function of that name there; a module whose class has ``__call__``
(https://docs.python.org/3/reference/datamodel.html#module.__class__) can be both.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mclrec.models.registry import ModelSummary
    from mclrec.records import Records


class _CallablePackage(ModuleType):
    def __call__(self) -> Records[ModelSummary]:
        """List the models: the call ``mclrec.models()``."""
        from mclrec.models.registry import summaries

        return summaries()


sys.modules[__name__].__class__ = _CallablePackage
