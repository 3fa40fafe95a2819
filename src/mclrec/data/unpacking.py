"""Decompression of zip, bzip2 and Zstandard files into a temporary folder, and conversion of text to UTF-8.

The compression is detected from the first bytes of a file. Gzip is left as it is: all readers of text decompress it on
the fly.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import lzma
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, cast

import pyarrow as pa

from mclrec.data.places import KNOWN, suffix_of
from mclrec.errors import DataError, OutputError

__all__ = ["UNPACKING_ERRORS", "Unpacked", "recoded", "unpacked"]

UNPACKING_ERRORS = (
    EOFError,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
)
"""What Python raises for compressed content that is damaged, encrypted, or in an unsupported method."""

_BLOCK = 1 << 20
_MAGIC = {b"BZh": "bzip2", b"\x28\xb5\x2f\xfd": "zstd", b"PK\x03\x04": "zip"}
_GZIP = b"\x1f\x8b"
_ENDINGS = {".gz": "gzip", ".bz2": "bzip2", ".zst": "zstd", ".zip": "zip"}
_SHOWN = {"gzip": ", gzipped", "bzip2": ", bzip2", "zstd": ", zstd", "zip": ", zipped"}


@dataclass(frozen=True, slots=True)
class Unpacked:
    """A regular file whose content can be read.

    Attributes:
        path: path for messages; that of a member of a zip file begins with the path of the zip file.
        content: file with the content: the file itself, or a temporary one.
        packing: text to follow the name of a format, which tells how the file is compressed.
    """

    path: Path
    content: Path
    packing: str = ""

    @property
    def suffix(self) -> str:
        """Suffix of the file, in lower case and without that of the compression."""
        return suffix_of(self.path)


def unpacked(path: Path, folder: Path) -> list[Unpacked]:
    """Decompress a file if needed; return the files that it is or contains.

    Args:
        path: a regular file.
        folder: a temporary folder for decompressed files.

    Raises:
        DataError: the file is damaged, is not what its suffix says, or contains no log.
    """
    with _errors(path), path.open("rb") as file:
        head = file.read(4)
    kind = "gzip" if head.startswith(_GZIP) else ""
    kind = kind or next((name for magic, name in _MAGIC.items() if head.startswith(magic)), "")
    named = _ENDINGS.get(path.suffix.lower())
    if named is not None and named != kind:
        words = {"gzip": "gzipped", "zip": "a zip file"}.get(named, f"packed with {named}")
        raise DataError(f"{path}: is not {words}, though its name ends with {path.suffix}")
    if kind == "zip":
        return _members(path, folder)
    if kind in ("bzip2", "zstd"):
        content = _free(folder, suffix_of(path))
        with _opened(path, path, kind) as packed, _written(content, path) as file:
            shutil.copyfileobj(packed, file, _BLOCK)
        return [Unpacked(path, content, _SHOWN[kind])]
    return [Unpacked(path, path, _SHOWN[kind] if kind else "")]


def recoded(file: Unpacked, encoding: str, folder: Path) -> Unpacked:
    """Convert a text file from an encoding to UTF-8.

    Raises:
        DataError: the file is not text in that encoding.
    """
    content = _free(folder, ".text")
    decoder = codecs.getincrementaldecoder(encoding)()
    line, kind = 1, "gzip" if _is_gzip(file) else ""
    with (
        _opened(file.path, file.content, kind) as source,
        _written(content, file.path) as target,
    ):
        while True:
            block = source.read(_BLOCK)
            try:
                text = decoder.decode(block, final=not block)
            except UnicodeError as problem:
                raise _not_encoded(file.path, line, encoding, problem) from None
            target.write(text.encode("utf-8", "surrogatepass"))
            line += text.count("\n")
            if not block:
                break
    return Unpacked(file.path, content, f"{file.packing}, {encoding}")


def _is_gzip(file: Unpacked) -> bool:
    with _errors(file.path), file.content.open("rb") as content:
        return content.read(2) == _GZIP


def _not_encoded(path: Path, line: int, encoding: str, problem: UnicodeError) -> DataError:
    shown = ""
    if isinstance(problem, UnicodeDecodeError):
        before = problem.object[: problem.start]
        line += before.count(b"\n")
        shown = f" (byte 0x{problem.object[problem.start]:02x})"
    return DataError(f"{path}:{line}: is not {encoding} text{shown}; use another --encoding")


def _members(path: Path, folder: Path) -> list[Unpacked]:
    """Unpack the logs in a zip file, sorted by name; other files, such as a README, are skipped."""
    found = []
    with _errors(path), zipfile.ZipFile(path) as packed:
        for entry in sorted(packed.infolist(), key=lambda entry: entry.filename):
            name = PurePosixPath(entry.filename)
            hidden = any(part.startswith(("_", ".")) for part in name.parts)
            if entry.is_dir() or hidden or suffix_of(Path(name)) not in KNOWN:
                continue
            content = _free(folder, suffix_of(Path(name)))
            with packed.open(entry) as source, _written(content, path) as target:
                shutil.copyfileobj(source, target, _BLOCK)
            inner = unpacked(content, folder)
            found += [Unpacked(path / name, part.content, ", zipped") for part in inner]
    if not found:
        raise DataError(f"{path}: holds no file of a known type: {' '.join(sorted(KNOWN))}")
    return found


def _free(folder: Path, suffix: str) -> Path:
    """An unused path in a folder."""
    return folder / f"unpacked{sum(1 for _ in folder.iterdir()):06}{suffix}"


@contextmanager
def _opened(path: Path, content: Path, kind: str) -> Iterator[IO[bytes]]:
    with _errors(path), content.open("rb") as raw:
        if kind == "gzip":
            yield cast("IO[bytes]", gzip.GzipFile(fileobj=raw))
        elif kind == "bzip2":
            yield cast("IO[bytes]", bz2.BZ2File(raw))
        elif kind == "zstd":
            if not pa.Codec.is_available("zstd"):
                raise DataError(f"{path}: this pyarrow lacks Zstandard support; unpack the file first")
            yield cast("IO[bytes]", pa.CompressedInputStream(raw, "zstd"))
        else:
            yield raw


@contextmanager
def _written(content: Path, path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file to write; a full disk becomes an error about the folder, not about the log."""
    file = content.open("wb")
    try:
        yield file
        file.close()
    except OSError as problem:
        if problem.errno is None or problem.filename is not None:
            raise
        raise OutputError(
            f"{content.parent}: no space for the content of {path}; set TMPDIR to a folder on a larger disk"
        ) from None
    finally:
        file.close()


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    try:
        yield
    except UNPACKING_ERRORS as problem:
        raise DataError(f"{path}: cannot be unpacked: {str(problem).lower()}") from None
    except OSError as problem:
        raise DataError(f"{path}: cannot be read: {problem.strerror or str(problem).lower()}") from None
