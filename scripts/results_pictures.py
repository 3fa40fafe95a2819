"""Draw the figures of published campaigns as SVG files, which the pages of docs/results/ show."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mclrec.experiments.campaign_plan import TARGETS
from mclrec.experiments.data_names import data_name
from mclrec.experiments.results_table import Measurement
from mclrec.experiments.view_plots import ViewPlot
from mclrec.runs.run import LABELS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOLDER = "figures"
"""Folder of the pictures, beside the pages."""


@dataclass(frozen=True)
class Picture:
    """Picture of one metric of a figure under one protocol, or of its views.

    Attributes:
        campaign: the published campaign.
        data: name of the data set.
        label: U or F; empty for views.
        metric: its name; empty for views.
    """

    campaign: Mapping[str, Any]
    data: str
    label: str = ""
    metric: str = ""

    @property
    def name(self) -> str:
        """Name of the file."""
        several = [self.data] if len(self.campaign["scope"]["datasets"]) > 1 else []
        parts = [Path(self.campaign["file"]).stem, *several, self.metric.replace("@", ""), self.label]
        return "-".join(filter(None, parts)).lower().replace(" ", "-") + ".svg"

    @property
    def title(self) -> str:
        """Title of the picture, which says what it shows."""
        shown = [f"{self.metric} ({self.label})"] if self.metric else []
        return ", ".join([TARGETS[self.campaign["target"]].title, self.data, *shown])

    def is_drawn(self, path: Path) -> bool:
        """Whether the file exists and was drawn from these numbers."""
        return path.is_file() and path.read_text(encoding="utf-8").startswith(self._stamp())

    def svg(self) -> str:
        """The text of its file."""
        from mclrec.report.svg import svg_text

        return self._stamp() + svg_text(self._draw())

    def _draw(self) -> Figure:
        from mclrec.report.target_sections import draw, draw_views

        target = TARGETS[self.campaign["target"]]
        if not self.metric:
            return draw_views(target, [*map(ViewPlot.of, self.campaign["clouds"])], self.data)
        rows = [*map(Measurement.of, self.campaign["measurements"])]
        return draw(target, rows, self.data, self.label, self.metric)

    def _stamp(self) -> str:
        """First line of the file: a checksum of the numbers. Another matplotlib may draw the same ones differently."""
        numbers = self.campaign["measurements"] if self.metric else self.campaign["clouds"]
        return f"<!-- {hashlib.sha256(json.dumps(numbers, sort_keys=True).encode()).hexdigest()} -->\n"


def pictures(campaign: Mapping[str, Any], data: str) -> list[Picture]:
    """The pictures of a campaign on one data set; empty for a table."""
    target = TARGETS.get(campaign["target"])
    if target is None:
        return []
    if any(data_name(plot["data"]) == data for plot in campaign["clouds"]):
        return [Picture(campaign, data)]
    there = {row["metric"] for row in campaign["measurements"] if data_name(row["data"]) == data}
    return [
        Picture(campaign, data, label, metric)
        for label in LABELS
        for metric in target.figures
        if metric in there
    ]
