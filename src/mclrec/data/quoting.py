"""Fields between delimiters, quoted or not: quotes keep delimiters, blanks and line ends; two stand for one."""

from __future__ import annotations

__all__ = ["MalformedError", "split_quoted"]


class MalformedError(Exception):
    """What is wrong with a line, to be said after its number."""


def split_quoted(text: str, delimiter: str, *, quote: str = '"', strip: bool = False) -> list[str] | None:
    """The fields of a line, of which some are quoted; None if the last one goes on in the next line.

    Args:
        text: the line.
        delimiter: between fields.
        quote: what encloses fields.
        strip: whether blanks around fields that are not quoted go.

    Raises:
        MalformedError: something stands behind a closing quote.
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
                raise MalformedError("has text behind a closing quote")
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
    """Where the quote is that closes a field, -1 if there is none; two stand for one within the field."""
    while (place := text.find(quote, place)) >= 0:
        if not text.startswith(quote, place + 1):
            return place
        place += 2
    return -1
