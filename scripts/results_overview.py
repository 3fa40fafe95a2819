"""Make docs/results.md: a list of the data sets' pages, and verdicts of the published files on the paper's claims."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from mclrec.experiments.results_table import ResultTable, TableCell, markdown
from mclrec.experiments.target import PAPER_DATASETS
from mclrec.runs.run import LABELS
from mclrec.wording import with_minus
from scripts.claim_evidence import JUDGED, METRICS, PROTOCOL, Difference, Evidence, evidence, verdict
from scripts.paper_claims import CLAIMS, Claim
from scripts.rerun import in_words
from scripts.results_page import PROTOCOLS, grouped, reproduce_command

_MINUS = "\N{MINUS SIGN}"
_BASES = {
    "paired": "paired bootstrap over users{seeds}",
    "seeds": "spread of {count} seeds, without the error over users",
    "users": "one seed; unpaired over users, wider than a paired interval",
    "none": "not available from the files",
}
_SURE = {
    "paired": "fairly, {count} seeds: paired over users, with seeds resampled, but few seeds understate how much seeds "
    "differ",
    "seeds": "somewhat, {count} seeds only: the interval is their spread, and leaves out the error over users",
    "paired, one seed": "somewhat, one seed: paired over users, but the variation between seeds is not included",
    "users": "little, one seed: the variation between seeds is not included",
    "none": "not at all: the files give no interval",
}

_HEAD = f"""# Results

Generated from the files in [results/](../results) by `python -m scripts.publish`; do not edit. All metrics are on test
targets and come from runs of this code: the epoch is chosen on validation, and targets are ranked among the whole
catalogue. Each file holds the command, settings, seed, data fingerprint, library versions and duration of its run.

{PROTOCOLS}

## By data set
"""

_CLAIMS_HEAD = f"""## The paper's claims

Eight claims of the paper, each tested by differences between systems that this code trained in the same way. They are
judged by {JUDGED} under {PROTOCOL}, MCLRec's protocol in the paper; NDCG@20 is shown too. A difference is *seen* if its
95 % interval excludes 0; the intervals are not corrected for their number. A claim *held* if all of its differences are
seen. If some of them have not been measured, the verdict says how many have.

The interval is a paired bootstrap if the file has one (`python -m scripts.publish --campaign` computes it from files of
ranks). Otherwise it comes from the spread of the seeds, or for one seed from the number of users; each row says which.
No interval covers all sources of chance: one seed cannot show how much seeds differ, the spread of seeds leaves out the
error over users, and a bootstrap over few seeds understates how much seeds differ.
"""

_AGAIN_HEAD = """## Trained again

Rows that were trained again with the command in their file (`python -m scripts.rerun ROW`), and how their 18 test
metrics compare. Another processor rounds sums differently, so training ends with a different model there, as it does
with another seed.
"""


def overview(
    results: Mapping[str, Sequence[Mapping[str, Any]]],
    campaigns: Sequence[Mapping[str, Any]],
    reruns: Sequence[Mapping[str, Any]],
) -> str:
    """The whole page, from the runs by data set, the campaigns, and the comparisons of rows that were trained again."""
    runs = [run for of_data in results.values() for run in of_data]
    found = {claim.title: evidence(claim, campaigns, runs) for claim in CLAIMS}
    return "\n".join(
        [
            _HEAD,
            _list_of_pages(results, campaigns),
            _CLAIMS_HEAD,
            _list_of_claims(found),
            *(_section(claim, found[claim.title]) for claim in CLAIMS),
            *_trained_again(reruns),
        ]
    )


def _trained_again(reruns: Sequence[Mapping[str, Any]]) -> list[str]:
    """The section on published rows that were trained again; empty if none was."""
    if not reruns:
        return []
    rows = [
        (
            found["row"],
            [TableCell(found[column]) for column in ("processor", "threads")] + [TableCell(in_words(found))],
        )
        for found in reruns
    ]
    return [_AGAIN_HEAD, _bare(ResultTable("", ["row", "on", "threads", "result"], rows))]


def _list_of_pages(
    results: Mapping[str, Sequence[Mapping[str, Any]]], campaigns: Sequence[Mapping[str, Any]]
) -> str:
    """Table of the data sets' pages, with the best system under each protocol."""
    rows = []
    for data, of_data in results.items():
        groups = grouped(of_data)
        targets = [found["target"] for found in campaigns if data in found["scope"]["datasets"]]
        best = [_best(groups, label) for label in LABELS]
        texts = [str(len(groups)), str(len(of_data)), ", ".join(sorted(targets)), *best]
        rows.append((f"[{data}](results/{data}.md)", [TableCell(text) for text in texts]))
    columns = ["", "systems", "runs", "tables and figures", *(f"best {JUDGED} {label}" for label in LABELS)]
    return _bare(ResultTable("", columns, rows))


def _best(groups: Mapping[str, Sequence[Mapping[str, Any]]], label: str) -> str:
    means = {
        name: statistics.fmean(run["test"][label][JUDGED] for run in runs) for name, runs in groups.items()
    }
    name = max(means, key=lambda name: means[name])
    return f"{name} {means[name]:.4f}"


def _list_of_claims(found: Mapping[str, Sequence[Evidence]]) -> str:
    """Table of verdicts: a row per claim and campaign, with the difference that decides."""
    rows = []
    for claim in CLAIMS:
        name = f"[{claim.title}](#{_anchor(claim)})"
        for item in found[claim.title]:
            judged = item.differences[JUDGED]
            deciding = min(judged, key=lambda difference: _strength(claim, difference))
            texts = [
                f"{item.data}, {item.source}",
                verdict(claim, judged),
                _words(deciding),
                f"{_number(deciding.mean)}{_interval(deciding)}",
                _sure(deciding).partition(":")[0],
            ]
            rows.append((name, [TableCell(text) for text in texts]))
        none, part = _missing(claim, found[claim.title])
        for names, text in ((none, "not measured yet"), (part, "in part not measured yet")):
            if names:
                rows.append((name, [TableCell(", ".join(names)), TableCell(text), *[TableCell("")] * 3]))
    columns = ["claim", "on", "verdict", "weakest difference", f"{JUDGED} {PROTOCOL} (95 %)", "how sure"]
    return _bare(ResultTable("", columns, rows))


def _strength(claim: Claim, difference: Difference) -> float:
    """Distance from 0, in the claim's direction, of the interval's near end; of the mean if there is no interval."""
    end = difference.low if claim.expected > 0 else difference.high
    return claim.expected * (difference.mean if end is None else end)


def _missing(claim: Claim, found: Sequence[Evidence]) -> tuple[list[str], list[str]]:
    """The paper's data sets on which none of a claim's differences are measured, and those on which only some are."""
    pairs = {
        data: {
            difference.pair for item in found if item.data == data for difference in item.differences[JUDGED]
        }
        for data in PAPER_DATASETS
    }
    none = [data for data, measured in pairs.items() if not measured]
    return none, [data for data, measured in pairs.items() if 0 < len(measured) < len(claim.pairs)]


def _section(claim: Claim, found: Sequence[Evidence]) -> str:
    """A claim: the paper's sentence, the differences, the verdict for each campaign, and what is missing."""
    lines = [f"### {claim.title}\n", f"> {claim.sentence} (section {claim.section})\n"]
    if claim.note:
        lines.append(f"{claim.note}\n")
    if found:
        rows = [row for item in found for row in _rows(item)]
        columns = ["on", "difference", *(f"{metric} {PROTOCOL}" for metric in METRICS), "interval", "files"]
        lines.append(_bare(ResultTable("", columns, rows)))
        lines += [_conclusion(claim, item) for item in found]
        lines.append("")
    none, part = _missing(claim, found)
    if none:
        lines.append(f"Not measured yet on {', '.join(none)}: `{measuring_command(claim, none)}`\n")
    if part:
        lines.append(f"In part not measured yet on {', '.join(part)}: `{measuring_command(claim, part)}`\n")
    return "\n".join(lines)


def _conclusion(claim: Claim, item: Evidence) -> str:
    """The verdict of one campaign as a sentence, and how sure it is."""
    judged = item.differences[JUDGED]
    weakest = min(judged, key=lambda difference: _strength(claim, difference))
    open_pairs = len(claim.pairs) - len(judged)
    left = f" {open_pairs} of {len(claim.pairs)} differences cannot be measured here." if open_pairs else ""
    command = f" By `{reproduce_command(claim.target, item.scope)}`." if item.scope else ""
    return f"- {item.data}, {item.source}: **{verdict(claim, judged)}**. How sure: {_sure(weakest)}.{left}{command}"


def _sure(difference: Difference) -> str:
    """How sure a difference is, in a word, and why."""
    one_seed = difference.basis == "paired" and difference.seeds == 1
    return _SURE["paired, one seed" if one_seed else difference.basis].format(count=difference.seeds)


def _rows(item: Evidence) -> list[tuple[str, list[TableCell]]]:
    rows = []
    for place, judged in enumerate(item.differences[JUDGED]):
        numbers = [f"{_number(found.mean)}{_interval(found)}" for found in _by_metric(item, place)]
        texts = [_words(judged), *numbers, _basis(judged), _link(item)]
        rows.append((f"{item.data}, {item.source}", [TableCell(text) for text in texts]))
    return rows


def _by_metric(item: Evidence, place: int) -> list[Difference]:
    return [item.differences[metric][place] for metric in METRICS]


def _basis(difference: Difference) -> str:
    seeds = f" and {difference.seeds} seeds" if difference.seeds > 1 else ", one seed"
    return _BASES[difference.basis].format(count=difference.seeds, seeds=seeds)


def _link(item: Evidence) -> str:
    if item.file:
        return f"[numbers and runs](../results/{item.file})"
    return f"[runs](results/{item.data}.md#runs)"


def _words(difference: Difference) -> str:
    return f"{difference.pair.ours} {_MINUS} {difference.pair.other}"


def _number(value: float) -> str:
    return with_minus(f"{value:+.4f}")


def _interval(difference: Difference) -> str:
    if difference.low is None or difference.high is None:
        return ""
    return f" ({_number(difference.low)} to {_number(difference.high)})"


def measuring_command(claim: Claim, datasets: Sequence[str]) -> str:
    """The command that measures a claim on data sets: three seeds, all models trained alike."""
    return reproduce_command(
        claim.target,
        {
            "datasets": datasets,
            "models": claim.models,
            "seeds": 3,
            "recipe": claim.recipe,
            "points": claim.points,
            "settings": {},
        },
    )


def _anchor(claim: Claim) -> str:
    return claim.title.lower().replace(" ", "-")


def _bare(table: ResultTable) -> str:
    """A table without its title, with left-aligned cells."""
    lines = markdown(table).split("\n", 2)[2].splitlines()
    lines[1] = "| --- " * len(table.columns) + "|"
    return "\n".join(lines) + "\n"
