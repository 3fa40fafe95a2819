"""The one place that knows Spark: a session for `mclrec prepare --engine spark`.

Everything else sees a Spark frame through narwhals, as any other table. This module is exempt from the rule that
nothing imports pyspark: a session cannot be had through narwhals.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from importlib.util import find_spec
from typing import TYPE_CHECKING

from mclrec.errors import ConfigError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["session"]

_JAVA = 17
"""Oldest that Spark 4 runs on."""

_DEFAULTS = {
    "spark.app.name": "mclrec",
    "spark.master": "local[2]",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.memory": "1g",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.shuffle.partitions": "4",
    "spark.sql.session.timeZone": "UTC",
}
"""Of a session in this process, which nothing outside the machine reaches; what Spark's own configuration says wins."""


def session() -> SparkSession:
    """The session that runs, the one that ``spark-submit`` prepared, or a small one in this process.

    Raises:
        ConfigError: pyspark or Java is missing or too old.
    """
    if find_spec("pyspark") is None:
        raise ConfigError('the engine spark needs pyspark: pip install "mclrec[spark]"')
    from pyspark import SparkConf
    from pyspark.sql import SparkSession

    running = SparkSession.getActiveSession()
    if running is not None:
        return running
    _check_java()
    configuration = SparkConf()
    for key, value in _DEFAULTS.items():
        configuration.setIfMissing(key, value)
    found = SparkSession.builder.config(conf=configuration).getOrCreate()
    found.sparkContext.setLogLevel("ERROR")
    return found


def _check_java() -> None:
    """Spark itself says of a missing or old Java only that its gateway exited."""
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=os.path.join(home, "bin")) if home else shutil.which("java")  # noqa: PTH118 - a search path
    if java is None:
        where = f"JAVA_HOME is {home}, which holds no bin/java" if home else "there is no java"
        raise ConfigError(
            f"the engine spark needs Java {_JAVA} or newer: {where}; install it, or set JAVA_HOME"
        )
    told = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr  # noqa: S603 - found above
    version = re.search(r'version "(\d+)', told)
    if version is None or int(version[1]) < _JAVA:
        what = f"is version {version[1]}" if version else "does not say its version"
        raise ConfigError(f"the engine spark needs Java {_JAVA} or newer: {java} {what}; set JAVA_HOME")
