"""A data set for mclrec: a log that is included in this package."""

from pathlib import Path

import mclrec

HERE = Path(__file__).parent

mclrec.register_dataset(
    "average-log",
    about="a log that comes with the package",
    address=HERE / "log.csv",
    sha256=(HERE / "log.sha256").read_text(),
)
