"""Text files, gzipped or not: scanned and checked once in blocks, and readable line by line in Python."""

from __future__ import annotations

import codecs
import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from mclrec.data.unpacking import Unpacked
from mclrec.errors import DataError

__all__ = ["LONGEST_LINE", "TextFile", "open_text"]

LONGEST_LINE = 1 << 26
"""Maximum length of a line, in bytes."""

_BLOCK = 1 << 20
_FIRST, _LATER = 1 << 18, 1 << 12  # bytes of a sample, from the first block and from later ones
_MOST_SAMPLES, _MOST_LINES = 64, 2000
_GZIP = b"\x1f\x8b"
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True, slots=True)
class TextFile:
    """A text file that has been scanned once: valid UTF-8, without NUL bytes, and not truncated.

    Attributes:
        path: path of the file.
        zipped: whether it is gzipped.
        ending: line ending: LF, CRLF or CR; None if they are mixed.
        longest: upper bound on the length of a line, in bytes.
        long_line: number of a line longer than `LONGEST_LINE`; 0 if there is none.
        quotes: whether it contains a double quote.
        blanks: whether it contains a blank.
        packing: text to follow the name of a format, which tells how the file is compressed and encoded.
        content: the file that holds the bytes; ``path`` itself, or a temporary one.
        samples: groups of consecutive lines, from the beginning and from places spread over the file.
    """

    path: Path
    zipped: bool
    ending: str | None
    longest: int
    long_line: int
    quotes: bool
    blanks: bool
    packing: str
    content: Path
    samples: tuple[tuple[str, ...], ...]

    def check_lines(self) -> None:
        """Refuse a file with a line longer than `LONGEST_LINE`."""
        if self.long_line:
            raise DataError(f"{self.path}:{self.long_line}: line has more than {LONGEST_LINE >> 20} MB")

    def lines(self) -> Iterator[tuple[int, str]]:
        """Yield lines with their numbers, from 1, split at LF, or at CR if no line of the file ends with LF."""
        rest, number = "", 0
        for text in self.pieces():
            *whole, rest = (rest + text).split("\r" if self.ending == "\r" else "\n")
            for line in whole:
                number += 1
                yield number, line
        if rest:
            yield number + 1, rest

    def pieces(self) -> Iterator[str]:
        """Yield the text in pieces, without a byte order mark."""
        with _opened(self.path, self.content, self.zipped) as file:
            decoder = codecs.getincrementaldecoder("utf-8-sig")()
            while block := file.read(_BLOCK):
                yield decoder.decode(block)
            yield decoder.decode(b"", final=True)


def open_text(file: Unpacked) -> TextFile:
    """Scan a text file and describe it.

    Raises:
        DataError: the file cannot be read, is empty or truncated, or is not UTF-8 text.
    """
    with _errors(file.path), file.content.open("rb") as raw:
        zipped = raw.read(2) == _GZIP
    scan = _Scan(file.path)
    with _opened(file.path, file.content, zipped) as content:
        while block := content.read(_BLOCK):
            scan.add(block)
    return scan.finished(file, zipped)


class _Scan:
    """Properties of a text file, collected block by block."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.decoder = codecs.getincrementaldecoder("utf-8")()
        self.started = self.quotes = self.blanks = False
        self.samples = _Samples()
        self.ends = self.returns = self.both = 0  # LF, CR, CRLF
        self.line = self.longest = 0  # bytes of the current line, and bound on those of the longest
        self.long_line = 0
        self.last = b""

    def add(self, block: bytes) -> None:
        if not self.started and block.startswith(_UTF_16):
            raise DataError(f"{self.path}: is UTF-16; add --encoding utf-16")
        self.started = True
        self._check_text(block)
        ends = block.count(b"\n")
        if b"\r" in block or self.last == b"\r":
            self.returns += block.count(b"\r")
            self.both += block.count(b"\r\n") + (self.last == b"\r" and block.startswith(b"\n"))
        self._measure(block, ends)
        self.quotes = self.quotes or b'"' in block
        self.blanks = self.blanks or b" " in block
        self.samples.add(block)
        self.ends += ends
        self.last = block[-1:]

    def _check_text(self, block: bytes) -> None:
        place = block.find(b"\0")
        if place >= 0:
            raise DataError(
                f"{self.path}:{self._line(block[:place])}: contains a NUL byte, so it is not UTF-8 text: "
                "give its --encoding"
            )
        if block.isascii() and not self.decoder.getstate()[0]:
            return
        try:
            self.decoder.decode(block)
        except UnicodeDecodeError as problem:
            raise self._not_text(block, problem) from None

    def _not_text(self, block: bytes, problem: UnicodeDecodeError) -> DataError:
        place = max(problem.start - (len(problem.object) - len(block)), 0)
        byte = problem.object[problem.start]
        return DataError(
            f"{self.path}:{self._line(block[:place])}: is not UTF-8 text (byte 0x{byte:02x}); "
            "give its encoding, such as --encoding latin-1"
        )

    def _line(self, before: bytes) -> int:
        end, done = (
            (b"\n", self.ends) if self.ends or b"\n" in before or not self.returns else (b"\r", self.returns)
        )
        return 1 + done + before.count(end)

    def _measure(self, block: bytes, ends: int) -> None:
        end = b"\n" if ends else b"\r"
        first, last = block.find(end), block.rfind(end)
        if first < 0:
            self.line += len(block)
        else:
            self.longest = max(self.longest, self.line + first, last - first)
            self.line = len(block) - last - 1
        if not self.long_line and max(self.longest, self.line) > LONGEST_LINE:
            self.long_line = self._line(b"")

    def finished(self, file: Unpacked, zipped: bool) -> TextFile:
        if not self.started:
            raise DataError(f"{self.path}: is empty")
        try:
            self.decoder.decode(b"", final=True)
        except UnicodeDecodeError as problem:
            raise self._not_text(b"", problem) from None
        ending = None
        if not self.returns:
            ending = "\n"
        elif self.returns == self.ends == self.both:
            ending = "\r\n"
        elif not self.ends:
            ending = "\r"
        return TextFile(
            self.path,
            zipped,
            ending,
            max(self.longest, self.line),
            self.long_line,
            self.quotes,
            self.blanks,
            file.packing,
            file.content,
            self.samples.lines("\r" if ending == "\r" else "\n"),
        )


class _Samples:
    """Samples of the first block and of later ones, evenly spaced: of too many samples, every second one is dropped."""

    def __init__(self) -> None:
        self._blocks = 0
        self._every = 1
        self._kept: list[tuple[int, bytes]] = []

    def add(self, block: bytes) -> None:
        if self._blocks % self._every == 0:
            self._kept.append((self._blocks, block[: _FIRST if not self._blocks else _LATER]))
            if len(self._kept) > _MOST_SAMPLES:
                self._every *= 2
                self._kept = [kept for kept in self._kept if kept[0] % self._every == 0]
        self._blocks += 1

    def lines(self, end: str) -> tuple[tuple[str, ...], ...]:
        """The complete lines of each sample."""
        found = []
        for number, sample in self._kept:
            lines = sample.decode("utf-8-sig", "replace").split(end)
            whole = lines[1 if number else 0 : None if self._blocks == 1 and len(sample) < _FIRST else -1]
            found.append(tuple(line.removesuffix("\r") for line in whole if line.strip())[:_MOST_LINES])
        return tuple(found)


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as problem:
        raise DataError(f"{path}: cannot be read: gzip: {str(problem).lower()}") from None
    except OSError as problem:
        raise DataError(f"{path}: cannot be read: {problem.strerror or problem}") from None


@contextmanager
def _opened(path: Path, content: Path, zipped: bool) -> Iterator[IO[bytes]]:
    with _errors(path), content.open("rb") as raw:
        yield cast("IO[bytes]", gzip.GzipFile(fileobj=raw)) if zipped else raw
