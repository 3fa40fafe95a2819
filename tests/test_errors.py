import pytest
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from mclrec import errors
from mclrec.errors import MclrecError, MclrecWarning, bounded, invalid_value, quoted, unknown_name, visible


class Config(BaseModel):
    model_config = ConfigDict(extra="forbid")
    hidden_size: int = 1
    heads: int = 1

    @field_validator("heads")
    @classmethod
    def even(cls, value: int) -> int:
        if value % 2:
            raise ValueError("must be even,\nand is not")
        return value


@pytest.mark.parametrize(
    ("name", "known", "message"),
    [
        (
            "mclerc",
            ["sasrec", "mclrec"],
            "unknown model 'mclerc'; did you mean 'mclrec'? (known: mclrec, sasrec)",
        ),
        ("zzz", ["sasrec", "mclrec"], "unknown model 'zzz' (known: mclrec, sasrec)"),
        ("zzz", [], "unknown model 'zzz' (known: none)"),
    ],
)
def test_unknown_name_suggests_the_nearest(name: str, known: list[str], message: str) -> None:
    assert unknown_name("model", name, known) == message


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"hiden_size": 3}, "unknown key 'hiden_size'"),
        ({"heads": 3}, "heads = 3: must be even, and is not"),
        ({"hidden_size": "much", "heads": 3}, "hidden_size = 'much': should be a valid integer"),
    ],
)
def test_invalid_value_is_one_line(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Config.model_validate(values)
    line = invalid_value(caught.value)
    assert line.startswith(message)
    assert "\n" not in line
    assert line.endswith("(and 1 more)") == (len(values) > 1)


def test_all_errors_share_one_base_and_warnings_do_not() -> None:
    classes = [getattr(errors, name) for name in errors.__all__ if name.endswith("Error")]
    assert len(classes) >= 10
    assert all(issubclass(cls, MclrecError) for cls in classes)
    assert issubclass(MclrecWarning, UserWarning)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("i1", "'i1'"),
        ("x" * 500, f"'{'x' * 27}...{'x' * 28}'"),
        ([1, 2, 3, 4, 5, 6, 7, 8], "[1, 2, 3, 4, 5, 6, ...]"),
        ("\x1b[31m", r"'\x1b[31m'"),
        (float("nan"), "nan"),
    ],
)
def test_a_value_in_a_message_is_short(value: object, text: str) -> None:
    assert quoted(value) == text


def test_a_number_that_python_does_not_write() -> None:
    assert quoted(10**5000) == "a number with thousands of digits"


def test_what_a_terminal_would_obey_is_written_as_an_escape() -> None:
    assert (
        visible("\x1b]0;title\x07 \u202e \x9b \udcff ä 日 :") == r"\x1b]0;title\x07 \u202e \x9b \udcff ä 日 :"
    )


def test_a_message_is_bounded_beside_its_path() -> None:
    path = "/folder/" + "p" * 500
    message = str(MclrecError(f"{path}: what is wrong, {'x ' * 5000}; what to do"))
    assert message.startswith(f"{path}: what is wrong")
    assert message.endswith("what to do")
    assert len(message) <= 300 + len(f"{path}: ")
    assert bounded(message) == message
    assert bounded("one\ntwo\nthree \x1b[0m") == "one\ntwo three \\x1b[0m"


def test_many_known_names_are_cut() -> None:
    message = unknown_name("setting", "x" * 1000, [f"setting_{number}" for number in range(500)])
    assert len(message) <= 300
    assert message.endswith("... 500 in all)")
