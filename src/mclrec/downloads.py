"""Complete, checked and atomic downloads of named data sets and published models."""

from __future__ import annotations

import os
import re
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Any, BinaryIO

from mclrec.errors import ConfigError, DataError, MclrecError, quoted
from mclrec.files import atomic_file, sha256_file
from mclrec.progress import counting

__all__ = ["check_sha256", "checksum_of", "download", "is_web_address"]

_BLOCK = 1 << 16
_TIMEOUT = 30  # seconds without a byte
_SHA256 = re.compile(r"[0-9a-f]{64}")


def is_web_address(address: str) -> bool:
    """Whether an address is an http or https URL."""
    return address.startswith(("https://", "http://"))


def checksum_of(given: object, name: str) -> str:
    """Validate a sha256 that is being registered; return it in lower case.

    Args:
        given: the given checksum.
        name: name of what it belongs to, for the message.

    Raises:
        ConfigError: it is not a sha256.
    """
    found = given.lower() if isinstance(given, str) else ""
    if not _SHA256.fullmatch(found):
        raise ConfigError(
            f"sha256 of {quoted(name)}: {quoted(given)} is not 64 hexadecimal digits, such as sha256sum prints"
        )
    return found


def download(
    address: str,
    target: Path,
    *,
    name: str,
    sha256: str,
    cure: str,
    error: type[MclrecError] = DataError,
) -> None:
    """Download to a temporary file; only a complete and checked file replaces the target.

    If ``MCLREC_MIRROR`` is set to the address of a folder, the file is fetched from there by its name.

    Args:
        address: http(s) address.
        target: path of the downloaded file.
        name: name of what is downloaded, for messages and the progress bar.
        sha256: checksum that the file must have.
        cure: what to do if the download fails, for the message.
        error: raised if the download fails, or if the checksum differs.
    """
    mirror = os.environ.get("MCLREC_MIRROR")
    if mirror:
        address = f"{mirror.rstrip('/')}/{address.rpartition('/')[2]}"
    if not is_web_address(address):
        raise error(f"{address}: not an http address; check {'MCLREC_MIRROR' if mirror else f'{name!r}'}")
    with atomic_file(target) as temporary:
        try:
            with urllib.request.urlopen(address, timeout=_TIMEOUT) as response, temporary.open("wb") as file:  # noqa: S310 - scheme checked above
                _copy(response, file, name)
        except (OSError, HTTPException, ValueError) as problem:  # ValueError: an address that is not one
            raise error(f"{address}: download failed: {problem}; {cure}") from None
        check_sha256(temporary, name, sha256, address, error)


def check_sha256(
    path: Path, name: str, sha256: str, shown: object, error: type[MclrecError] = DataError
) -> None:
    """Refuse a file whose checksum differs; the message calls the file ``shown``."""
    found = sha256_file(path, error)
    if found != sha256:
        raise error(
            f"{shown}: not the file of {name!r}: sha256 {found} instead of {sha256}; "
            "remove it or use another name"
        )


def _copy(response: Any, file: BinaryIO, name: str) -> None:
    """Copy a response to a file, with a bar on a terminal; a truncated response raises OSError."""
    size = response.headers.get("Content-Length")
    total = None if size is None else int(size)
    with counting(f"downloading {name}", total, unit="bytes") as advance:
        received = 0
        while block := response.read(_BLOCK):
            file.write(block)
            received += len(block)
            advance(received, total)
    if total is not None and received < total:
        raise OSError(f"connection closed after {received} of {total} bytes")
