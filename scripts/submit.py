r"""Make a submission to the leaderboard from recommendation lists: a JSON file and files of ranks in results/judged/.

python -m scripts.submit recs-seed1.parquet recs-seed2.parquet --system "My system" --data complete-journey \
    --link https://github.com/me/mine --examples sequences --loss softmax --core-minutes 12.5 11.9

The files are trainings of one system, in the order of their seeds. Both protocols are written unless --protocol says
which. `python -m scripts.publish` then makes the page.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mclrec.data.loading import load
from mclrec.data.split import Split, make_split
from mclrec.errors import ConfigError, DataError, MclrecError
from mclrec.evaluation.listed_ranks import ListedRanks, ranks_of_lists
from mclrec.evaluation.protocol import SEEN_OF
from mclrec.evaluation.recommended_columns import ListColumns
from mclrec.evaluation.recommended_lists import read_lists
from mclrec.json_files import write_json
from mclrec.sealed_json import validated
from scripts.rank_files import TargetSet, known_targets, read_ranks, targets_of, write_ranks
from scripts.results_page import METRICS
from scripts.submissions import FOLDER, Submission, check_submission, shown

RESULTS = Path(__file__).parents[1] / "results"
_SPLIT = "leave-one-out"
_LONGEST_NOTE, _MOST_NOTES = 300, 20


def submit(
    lists: Sequence[Path],
    about: dict[str, Any],
    protocol: str,
    *,
    seeds: Sequence[int] = (),
    minutes: Sequence[float] = (),
    results: Path = RESULTS,
    source: Any = None,
) -> Path:
    """Write a submission under one protocol, after the checks that it must pass.

    Args:
        lists: recommendation lists of each training, as `mclrec judge` takes them.
        about: facts about the system: system, data, link, and optionally examples and loss.
        protocol: U or F.
        seeds: seeds of the trainings; if empty, 1, 2, ...
        minutes: core-minutes of each training; if empty, they are not known.
        results: folder of the results.
        source: the data as `mclrec.load` takes them, if not the data set of that name.

    Returns:
        The JSON file.

    Raises:
        MclrecError: lists cannot be judged, or the submission does not pass.
    """
    known = known_targets(results)
    data = str(about["data"])
    targets = targets_of(known, data, _SPLIT, results / "targets.toml")
    split = make_split(load(data if source is None else source), _SPLIT)
    if TargetSet.of(split) != targets:
        raise DataError(f"{data}: has other test targets than results/targets.toml says")
    found = [ranks_of_lists(read_lists(path, ListColumns()), split.test, SEEN_OF[protocol]) for path in lists]
    stem = f"{data}-{_slug(about['system'])}-{protocol}"
    trainings = [
        {"ranks": f"{stem}-seed{seed}.parquet", "seed": seed, "core_minutes": time}
        for seed, time in zip(_seeds(seeds, len(lists)), _minutes(minutes, len(lists)), strict=True)
    ]
    said = {**about, "fingerprint": targets.fingerprint, "split": _SPLIT, "protocol": protocol}
    said |= {"list_length": min(one.facts.length for one in found), "trainings": trainings}
    said |= {"notes": _notes(found, protocol)}
    with tempfile.TemporaryDirectory() as tried:
        _write(Path(tried), stem, said, split, found)
        check_submission(Path(tried) / f"{stem}.json", known)
    return _write(results / FOLDER, stem, said, split, found)


def _write(folder: Path, stem: str, said: dict[str, Any], split: Split, found: Sequence[ListedRanks]) -> Path:
    """Write the files of a submission; metrics are computed from the ranks as they were written."""
    folder.mkdir(exist_ok=True)
    tables = []
    for training, one in zip(said["trainings"], found, strict=True):
        write_ranks(folder / training["ranks"], split.test, one.ranks)
        tables.append(read_ranks(folder / training["ranks"]))
    metrics = {
        name: statistics.fmean(table.metric(name) for table in tables)
        for name in METRICS
        if shown(name, said["list_length"])
    }
    path = folder / f"{stem}.json"
    record = validated(Submission, {**said, "metrics": metrics}, str(path))
    write_json(path, record.model_dump(mode="json"))
    return path


def _notes(found: Sequence[ListedRanks], protocol: str) -> list[str]:
    """Notes on what was decided about the lists, each sentence once."""
    notes = [note[:_LONGEST_NOTE] for one in found for note in one.facts.notes(SEEN_OF[protocol])]
    return list(dict.fromkeys(notes))[:_MOST_NOTES]


def _seeds(given: Sequence[int], count: int) -> Sequence[int]:
    if given and len(given) != count:
        raise ConfigError(f"--seeds: {len(given)} for {count} files of lists; give one per file")
    return given or range(1, count + 1)


def _minutes(given: Sequence[float], count: int) -> Sequence[float | None]:
    if given and len(given) != count:
        raise ConfigError(f"--core-minutes: {len(given)} for {count} files of lists; give one per file")
    return given or [None] * count


def _slug(name: str) -> str:
    """A name in a form for file names."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40]
    if not slug:
        raise ConfigError(f"--system {name!r}: needs a letter or digit for the names of its files")
    return slug


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("lists", nargs="+", type=Path)
    words.add_argument("--system", required=True)
    words.add_argument("--data", required=True)
    words.add_argument("--link", required=True, help="where the system is found: https://...")
    words.add_argument("--examples", help="what it is trained on, such as prefixes, sequences or windows")
    words.add_argument("--loss")
    words.add_argument("--seeds", nargs="+", type=int, default=[])
    words.add_argument(
        "--core-minutes", nargs="+", type=float, default=[], help="minutes times cores, one a file"
    )
    words.add_argument("--protocol", choices=list(SEEN_OF), nargs="+", default=list(SEEN_OF))
    given = words.parse_args()
    about = {key: getattr(given, key) for key in ("system", "data", "link", "examples", "loss")}
    try:
        for protocol in given.protocol:
            print(submit(given.lists, about, protocol, seeds=given.seeds, minutes=given.core_minutes))
    except MclrecError as problem:
        sys.exit(f"error: {problem}")


if __name__ == "__main__":
    main()
