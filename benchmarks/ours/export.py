"""Write all interactions of a data set to a file for the peers, in RecBole's ``.inter`` format; positions are times.

Request: ``data`` (a name or a path), ``path``, and optionally ``columns`` (see `mclrec.data.columns`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.child import Document, Request, answer
from mclrec.data.columns import Columns
from mclrec.data.loading import load
from mclrec.data.sequences import SequenceData

__all__ = ["measure"]


def _load(request: Request) -> SequenceData:
    columns = request.get("columns")
    return load(request["data"], columns=Columns(**columns)) if columns else load(request["data"])


def measure(request: Request) -> Document:
    """Answer a request, as the module's docstring describes."""
    data = _load(request)
    users = np.repeat(np.arange(1, data.num_users + 1), data.lengths)
    places = np.arange(len(data.items)) - np.repeat(data.offsets[:-1], data.lengths)
    path = Path(request["path"])
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        file.write("user_id:token\titem_id:token\ttimestamp:float\n")
        np.savetxt(file, np.column_stack([users, data.items, places]), fmt="%d", delimiter="\t")
    return {
        "users": data.num_users,
        "items": data.num_items,
        "interactions": len(data.items),
        "fingerprint": data.fingerprint,
    }


if __name__ == "__main__":
    answer(measure)
