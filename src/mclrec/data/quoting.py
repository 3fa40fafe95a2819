"""Split lines with quoted fields: quotes protect delimiters, blanks and line ends; a doubled quote stands for one."""

from __future__ import annotations

__all__ = ["MalformedError", "split_quoted"]


class MalformedError(Exception):
    """A malformed line; the message is to follow the line's number."""


def split_quoted(text: str, delimiter: str, *, quote: str = '"', strip: bool = False) -> list[str] | None:
    """Split a line with quoted fields; return None if its last field continues on the next line.

    Args:
        text: the line.
        delimiter: delimiter between fields.
        quote: quote character.
        strip: whether to strip blanks around unquoted fields.

    Raises:
        MalformedError: text follows a closing quote.
    """
    fields: list[str] = []
    place = 0
    while True:
        start = _after_blanks(text, place)
        if text.startswith(quote, start):
            end = _closing(text, start + 1, quote)
            if end < 0:
                return None
            fields.append(text[start + 1 : end].replace(quote * 2, quote))
            end = _after_blanks(text, end + 1)
            if end < len(text) and not text.startswith(delimiter, end):
                raise MalformedError("has text after a closing quote")
        else:
            end = text.find(delimiter, place)
            end = len(text) if end < 0 else end
            fields.append(text[place:end].strip(" \t") if strip else text[place:end])
        if end == len(text):
            return fields
        place = end + len(delimiter)


def _after_blanks(text: str, place: int) -> int:
    while text.startswith(" ", place):
        place += 1
    return place


def _closing(text: str, place: int, quote: str) -> int:
    """Index of the quote that closes a field, -1 if there is none; a doubled quote stands for one within the field."""
    while (place := text.find(quote, place)) >= 0:
        if not text.startswith(quote, place + 1):
            return place
        place += 2
    return -1
