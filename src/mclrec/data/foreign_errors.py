"""Convert errors that other libraries raise on user data into one-line errors of this package."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from mclrec.errors import DataError, MclrecError, OutputError

__all__ = ["foreign_errors"]

_NO_ROOM = ("no space left", "disk quota exceeded", "max_temp_directory_size")


@contextmanager
def foreign_errors(place: str, what: str) -> Iterator[None]:
    """Turn any exception of a library into a one-line error that says where and what.

    Raises:
        OutputError: there was no room for temporary files.
        DataError: any other error.
    """
    try:
        yield
    except MclrecError:
        raise
    except Exception as problem:  # libraries raise exceptions of any kind on damaged and odd data
        text = (str(problem) or type(problem).__name__).strip().partition("\n")[0]
        full = isinstance(problem, OSError) and problem.errno in (errno.ENOSPC, errno.EDQUOT)
        if full or any(sign in str(problem).lower() for sign in _NO_ROOM):
            raise OutputError(
                f"{tempfile.gettempdir()}: no space left for the rows of {place}; "
                "set TMPDIR to a folder on a larger disk"
            ) from None
        raise DataError(f"{place}: {what}: {text}") from None
