import pytest

from mclrec.data.columns import Columns
from mclrec.errors import DataError


@pytest.mark.parametrize(
    ("names", "roles"),
    [
        ("userId movieId rating timestamp", ("userId", "movieId", "timestamp")),
        ("reviewerID asin overall unixReviewTime", ("reviewerID", "asin", "unixReviewTime")),
        ("rating asin parent_asin user_id timestamp", ("user_id", "parent_asin", "timestamp")),
        ("review_id user_id business_id stars date", ("user_id", "business_id", "date")),
        (
            "user_id:token item_id:token timestamp:float",
            ("user_id:token", "item_id:token", "timestamp:float"),
        ),
        ("Visitor-ID Item_ID Event Time", ("Visitor-ID", "Item_ID", "Time")),
    ],
)
def test_usual_names_are_guessed(names: str, roles: tuple[str, str, str]) -> None:
    found = Columns().resolve(names.split(), "log.csv")
    assert (found.user, found.item, found.time) == roles


def test_given_names_win_and_recbole_types_may_be_left_out() -> None:
    names = ["user_id:token", "item_id:token", "timestamp:float", "seen:float", "n:float"]
    found = Columns(time="seen", sequence="n").resolve(names, "log.inter")
    assert (found.time, found.sequence) == ("seen:float", "n:float")


def test_time_is_needed_unless_rows_are_in_order() -> None:
    names = ["user", "item", "place"]
    with pytest.raises(DataError, match=r"^log\.csv: no column looks like the time.*user, item, place"):
        Columns().resolve(names, "log.csv")
    assert Columns(file_order=True).resolve(names, "log.csv").time is None
    assert Columns(sequence="place").resolve(names, "log.csv").sequence == "place"


def test_unknown_column_suggests_the_nearest() -> None:
    with pytest.raises(
        DataError, match=r"unknown column 'moveId'; did you mean 'movieId'\? .*known: movieId, time, user"
    ):
        Columns(item="moveId").resolve(["user", "movieId", "time"], "log.csv")
    with pytest.raises(DataError, match="no column looks like the item"):
        Columns().resolve(["user", "thing", "time"], "log.csv")
