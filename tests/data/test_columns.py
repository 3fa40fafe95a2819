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
        ("customer_id sku order_date", ("customer_id", "sku", "order_date")),
        ("t_dat customer_id article_id price", ("customer_id", "article_id", "t_dat")),
        ("TRANSACTION_DT CUSTOMER_ID PIN_CODE PRODUCT_ID", ("CUSTOMER_ID", "PRODUCT_ID", "TRANSACTION_DT")),
        ("uid anime_id last_played", ("uid", "anime_id", "last_played")),
        ("Visitor-ID Item_ID Event Time", ("Visitor-ID", "Item_ID", "Time")),
    ],
)
def test_usual_names_are_guessed(names: str, roles: tuple[str, str, str]) -> None:
    found = Columns().resolve(names.split(), "log.csv")
    assert (found.user, found.item, found.time) == roles


@pytest.mark.parametrize(
    ("names", "roles"),
    [
        ("anon_user_id product_id redemption_date", ("anon_user_id", "product_id", "redemption_date")),
        ("customer_id parent_sku shipped_at", ("customer_id", "parent_sku", "shipped_at")),
        (
            "user main_product_id order_purchase_timestamp",
            ("user", "main_product_id", "order_purchase_timestamp"),
        ),
        ("user item birth_date scan_date:float", ("user", "item", "scan_date:float")),
        ("user item first_date date", ("user", "item", "date")),
    ],
)
def test_names_that_end_like_a_usual_one_are_taken(names: str, roles: tuple[str, str, str]) -> None:
    found = Columns().resolve(names.split(), "log.csv")
    assert (found.user, found.item, found.time) == roles


@pytest.mark.parametrize(
    "names",
    [
        "user item first_date last_date",
        "user item birth_date",
        "user item updated_at",
        "user item dwell_time",
        "user item format",
        "user item beats",
        "old_user_id new_user_id item time",
        "user task time",
    ],
)
def test_names_that_could_be_something_else_are_not(names: str) -> None:
    with pytest.raises(DataError, match="no column looks like"):
        Columns().resolve(names.split(), "log.csv")


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


def test_a_table_without_columns_says_so() -> None:
    with pytest.raises(DataError, match=r"^log\.parquet: has no columns; a log needs user, item, time$"):
        Columns().resolve([], "log.parquet")


def test_all_columns_that_are_lacking_are_told_with_their_options() -> None:
    with pytest.raises(DataError) as caught:
        Columns().resolve(["сессия", "товар", "день"], "журнал.csv")
    assert str(caught.value) == (
        "журнал.csv: no column looks like the user, the item or the time; name them with --user-column, --item-column, "
        "--time-column, or a list of items with --history-column, or use --file-order if the rows are in order "
        "(columns: сессия, товар, день)"
    )
    with pytest.raises(
        DataError, match=r"the user or the time; name them with --user-column, --time-column, or use"
    ):
        Columns(item="товар").resolve(["сессия", "товар", "день"], "журнал.csv")
    with pytest.raises(
        DataError, match=r"like the user; name it with --user-column \(columns: сессия, товар"
    ):
        Columns(item="товар", time="день").resolve(["сессия", "товар", "день"], "журнал.csv")
    with pytest.raises(DataError, match=r"like the user; name it with --user-column \(columns"):
        Columns(history="товары").resolve(["сессия", "товары"], "журнал.csv")
    found = Columns(user="сессия", item="товар", time="день").resolve(
        ["сессия", "товар", "день"], "журнал.csv"
    )
    assert (found.user, found.item, found.time) == ("сессия", "товар", "день")


def test_unknown_column_suggests_the_nearest() -> None:
    with pytest.raises(
        DataError, match=r"unknown column 'moveId'; did you mean 'movieId'\? .*known: movieId, time, user"
    ):
        Columns(item="moveId").resolve(["user", "movieId", "time"], "log.csv")
    with pytest.raises(DataError, match="no column looks like the item"):
        Columns().resolve(["user", "thing", "time"], "log.csv")


@pytest.mark.parametrize(
    "names", ["userID artistID tagID day month year", "user item Year Day", "user item month day"]
)
def test_a_day_of_the_month_is_no_time(names: str) -> None:
    """In HetRec's tags, ordering by the day column alone put 5 January 2010 before 9 March 2009."""
    with pytest.raises(DataError, match=r"the time is spread over several columns \([dD]ay, .*--time-column"):
        Columns().resolve(names.split(), "log.dat")
    day = next(name for name in names.split() if name.lower() == "day")
    assert Columns(time=day).resolve(names.split(), "log.dat").time == day
    assert Columns().resolve([*names.split(), "timestamp"], "log.dat").time == "timestamp"
    assert Columns().resolve(["user", "item", "day", "week"], "log.dat").time == "day"
