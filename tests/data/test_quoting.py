import pytest

from mclrec.cli.commands.recommend import _ids
from mclrec.data.quoting import MalformedError, split_quoted
from mclrec.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("a,b", ["a", "b"]),
        ("a,,", ["a", "", ""]),
        ('"a,b" ,c', ["a,b", "c"]),
        ('" a ", b ', [" a ", " b "]),
        ('"say ""hi""",5" nail', ['say "hi"', '5" nail']),
        ('""', [""]),
        ('"a', None),
        ('a,"b""', None),
    ],
)
def test_fields(text: str, fields: list[str] | None) -> None:
    assert split_quoted(text, ",") == fields


def test_what_stands_behind_a_quote_is_refused() -> None:
    with pytest.raises(MalformedError, match="has text after a closing quote"):
        split_quoted('"a"b,c', ",")


def test_ids_of_a_history() -> None:
    assert _ids(' a b , "c,d", " e ",,"line\nend"') == ["a b", "c,d", " e ", "line\nend"]
    for text in ('"a', '"a"b'):
        with pytest.raises(ConfigError, match=r"--history .*double any quote inside"):
            _ids(text)
