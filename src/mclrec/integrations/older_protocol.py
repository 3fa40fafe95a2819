"""Rewriting checkpoints of a newer pickle protocol in protocol 2, which torch reads without running code.

RecBole saves with protocol 4, and ``weights_only=True`` reads only protocol 2. A pickle is a list of instructions;
`pickletools` lists them without executing any, and each has an equivalent in protocol 2: only the encoding changes.
"""

from __future__ import annotations

import io
import pickletools
import struct
import zipfile
from pathlib import Path

__all__ = ["in_protocol_2"]

_RECORD = "/data.pkl"
_TEXTS = {"SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "SHORT_BINBYTES", "BINBYTES", "BINBYTES8"}
"""Instructions that push text or bytes; bytes become Latin-1 text, which is enough for values that are not kept."""

_SETS = {"EMPTY_SET": b"]", "ADDITEMS": b"e", "FROZENSET": b"t"}
"""Instructions for sets, and those for lists and tuples that replace them: protocol 2 has no sets."""

_GETS, _PUTS = {"BINGET", "LONG_BINGET"}, {"BINPUT", "LONG_BINPUT", "MEMOIZE"}


def in_protocol_2(path: Path) -> io.BytesIO | Path:
    """The path of a checkpoint that already uses protocol 2, otherwise its content in that protocol.

    Raises:
        ValueError: it is not a torch archive, or has an instruction without an equivalent in protocol 2.
    """
    with zipfile.ZipFile(path) as archive:
        [record] = [name for name in archive.namelist() if name.endswith(_RECORD)]
        program = archive.read(record)
        if program[:2] == b"\x80\x02":
            return path
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as written:
            for name in archive.namelist():
                written.writestr(name, _rewritten(program) if name == record else archive.read(name))
    content.seek(0)
    return content


def _rewritten(program: bytes) -> bytes:
    """The same instructions in protocol 2. Texts are repeated wherever they are used instead of being memoised."""
    out: list[bytes] = []
    texts: list[str | None] = []  # one per instruction of ``out``; None if it pushes no text
    memory: dict[int, str] = {}
    places = 0
    listed = list(pickletools.genops(program))
    ends = [place for _, _, place in listed[1:] if place is not None] + [len(program)]
    for (code, argument, place), end in zip(listed, ends, strict=True):
        name, text = code.name, None
        if name in ("PROTO", "FRAME"):
            continue
        if name in _TEXTS:
            text = argument if isinstance(argument, str) else bytes(argument or b"").decode("latin-1")
            raw = _pushed(text)
        elif name in _GETS and argument in memory:
            text = memory[argument]
            raw = _pushed(text)
        elif name in _PUTS:
            number = places if argument is None else int(argument)
            places = max(places, number + 1)
            if texts and texts[-1] is not None:
                memory[number] = texts[-1]
                continue
            raw = b"r" + struct.pack("<I", number)
        elif name == "STACK_GLOBAL":
            raw = _named(texts[-2:])
            del out[-2:], texts[-2:]
        elif name in _SETS:
            raw = _SETS[name]
        elif code.proto <= 2:
            raw = program[place:end]
        else:
            raise ValueError(f"unsupported instruction {name} of pickle protocol {code.proto}")
        out.append(raw)
        texts.append(text)
    return b"".join([b"\x80\x02", *out])


def _pushed(text: str) -> bytes:
    content = text.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(content)) + content


def _named(texts: list[str | None]) -> bytes:
    """The instruction that pushes a class or function, given by its module and name."""
    if len(texts) != 2 or None in texts or any("\n" in str(text) for text in texts):
        raise ValueError("a name that is computed")
    return f"c{texts[0]}\n{texts[1]}\n".encode()
