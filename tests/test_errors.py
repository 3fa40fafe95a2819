import pytest
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from mclrec import errors
from mclrec.errors import MclrecError, MclrecWarning, invalid_value, unknown_name


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
    assert len(classes) == 8
    assert all(issubclass(cls, MclrecError) for cls in classes)
    assert issubclass(MclrecWarning, UserWarning)
