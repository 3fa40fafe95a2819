"""Formats of times in text: SQL that parses every ISO format, and other known formats, which errors suggest."""

from __future__ import annotations

import re
from itertools import product

__all__ = ["CLOCK", "FORMS", "ISO", "clock_form", "has_day", "sampled_meaning"]

_BASIC = (
    r"\s*\d{4}-?\d\d-?\d\d[Tt ]\d\d:?\d\d(:?\d\d([.,]\d+)?)?"
    r"\s*((Z|z|[+-]\d\d(:?\d\d)?)(\[[\w/+-]+\])?|[A-Za-z][\w/+-]*)?\s*"
)
_STEPS = [
    (r"^\s*(\d{4})-?(\d\d)-?(\d\d)[Tt ](\d\d):?(\d\d)", r"\1-\2-\3 \4:\5"),
    (r"^(.{16})(\s*[A-Za-z+-].*|\s*)$", r"\1:00\2"),
    (r"^(.{16})(\d\d)", r"\1:\2"),
    (r"^(.{19}),", r"\1."),
    (r"\[.*\]\s*$", ""),
    (r"^(.{19}[.\d]*)\s+([+-]\d\d)", r"\1\2"),
    (r"^(.{19}.*[+-]\d\d)(\d\d)\s*$", r"\1:\2"),
    (r"(\d)\s*[Zz]\s*$", r"\1+00"),
]


def _iso() -> str:
    text = "time"
    for pattern, replacement in _STEPS:
        text = f"regexp_replace({text}, '{pattern}', '{replacement}')"
    return f"(CASE WHEN regexp_full_match(time, '{_BASIC}') THEN {text} ELSE time END)"


ISO = _iso()
"""SQL: the column ``time`` rewritten from any ISO format (basic, without seconds ...) to the one that DuckDB casts."""

_DAYS = [
    *(
        f"{day}{sign}{year}"
        for year in ("%Y", "%y")
        for sign in "/.-"
        for day in (f"%d{sign}%m", f"%m{sign}%d")
    ),
    *(f"%y{sign}%m{sign}%d" for sign in "/.-"),
]
_CLOCKS = ["", " %H:%M", " %H:%M:%S", " %I:%M:%S %p", " %I:%M %p"]

FORMS = [
    *(day + clock for day, clock in product(_DAYS, _CLOCKS)),
    "%a %b %d %H:%M:%S %z %Y",
    "%a %b %d %H:%M:%S %Y",
    "%a, %d %b %Y %H:%M:%S %z",
    "%a, %d %b %Y %H:%M:%S %Z",
    "%d %b %Y %H:%M:%S",
    "%d %b %Y, %H:%M",
    "%d %b %Y",
    "%d %B %Y",
    "%b %d, %Y",
    "%B %d, %Y",
    "%m %d, %Y",
    "%d-%b-%Y",
    "%d-%b-%y",
    "%d-%b-%Y %H:%M:%S",
    "%Y/%m/%d %H:%M",
    "%Y-%m-%d %I:%M:%S %p",
    "%Y-%m-%d %I:%M %p",
]
"""Formats of strptime that logs are known to use."""


CLOCK = r"\s*[Tt]?\d{1,2}(:\d\d(:\d\d([.,]\d+)?)?)?\s*([AaPp]\.?[Mm]\.?|Z|z|[+-]\d\d(:?\d\d)?)?\s*"
"""Pattern of a clock time without a date: 12:30, 12:30:05.25, 1:05 PM, 12:30+01:00."""

_DAY_SIGNS = re.compile(r"%-?[dejxcDFsuwaAU]")


def clock_form(text: str) -> str:
    """The strptime format of a clock time."""
    half = re.search(r"(\s*)[AaPp][Mm]\s*$", text)
    minutes = "%M" if ":" in text else ""
    seconds = ("%S" if text.count(":") > 1 else "") + (".%f" if "." in text else "")
    clock = ":".join(filter(None, ["%H" if half is None else "%I", minutes, seconds]))
    return clock if half is None else f"{clock}{half[1]}%p"


def has_day(form: str) -> bool:
    """Whether a strptime format includes the day."""
    return _DAY_SIGNS.search(form) is not None


def sampled_meaning(form: str) -> str:
    """What the first two numbers of a time mean in a strptime format, such as "day/month"."""
    return {"%d": "day/month", "%m": "month/day"}.get(form[:2], "year/month")
