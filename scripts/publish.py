"""Publish finished runs and campaigns: small JSON files in results/, and from these docs/results.md, the pages and
pictures in docs/results/, docs/leaderboard.html and a table in the README.

python -m scripts.publish runs/beauty-mclrec-seed1 runs/beauty-sasrec-seed1
python -m scripts.publish --campaign runs/reproduce     # what `mclrec reproduce` wrote there, but for what is not done
python -m scripts.publish --campaign runs/reproduce --unfinished   # that, too; the tables say what is not done
python -m scripts.publish --ranks runs/beauty-markov    # with files of ranks, for intervals on the leaderboard
python -m scripts.publish --targets beauty yelp         # targets of data sets, by which files of ranks are checked
python -m scripts.publish                               # only makes the pages and the table again
python -m scripts.publish --weights DIR --address URL runs/beauty-mclrec-seed1   # release assets of the runs, in DIR
python -m scripts.publish --check                       # writes nothing; fails where a page is not what it makes
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from mclrec.errors import MclrecError
from mclrec.files import atomic_file
from scripts.campaign_files import publish_campaign
from scripts.leaderboard import leaderboard
from scripts.model_assets import publish_weights
from scripts.rank_files import publish_targets
from scripts.rerun import read_reruns
from scripts.results_overview import overview
from scripts.results_page import data_page, read_campaigns, read_notes, read_results, summary
from scripts.results_pictures import FOLDER, Picture, pictures
from scripts.run_files import publish_run

ROOT = Path(__file__).parents[1]
RESULTS, DOCS, FIRST_PAGE = ROOT / "results", ROOT / "docs", ROOT / "README.md"
_MARKS = ("<!-- results: made by scripts.publish -->\n", "<!-- end of results -->\n")


def pages(folder: Path | None = None) -> dict[Path, str]:
    """Every page that is made from the files of results, with its text.

    Args:
        folder: folder of the results; that of the repository if None.

    Raises:
        MclrecError: a file cannot be shown on the pages.
    """
    folder = RESULTS if folder is None else folder
    results, campaigns, notes = read_results(folder), read_campaigns(folder), read_notes(folder)
    return {
        DOCS / "results.md": overview(results, campaigns, read_reruns(folder)),
        **{
            DOCS / "results" / f"{data}.md": data_page(data, of_data, campaigns, notes)
            for data, of_data in results.items()
        },
        DOCS / "leaderboard.html": leaderboard(folder),
        FIRST_PAGE: with_table(FIRST_PAGE.read_text(encoding="utf-8"), summary(folder)),
    }


def outdated(made: Mapping[Path, str]) -> list[Path]:
    """The pages that differ from their files, and files in the folder of pages that are no longer made."""
    differing = [path for path, text in made.items() if not path.is_file() or path.read_text("utf-8") != text]
    return differing + [path for path in sorted((DOCS / "results").glob("*.md")) if path not in made]


def figures(folder: Path | None = None) -> dict[Path, Picture]:
    """Every picture of the published campaigns, by its file; ``folder`` as in `pages`."""
    drawn = [
        picture
        for campaign in read_campaigns(RESULTS if folder is None else folder)
        for data in campaign["scope"]["datasets"]
        for picture in pictures(campaign, data)
    ]
    return {DOCS / "results" / FOLDER / picture.name: picture for picture in drawn}


def outdated_figures(made: Mapping[Path, Picture]) -> list[Path]:
    """The pictures whose files are not drawn from their numbers, and files in the folder that no page shows."""
    differing = [path for path, picture in made.items() if not picture.is_drawn(path)]
    return differing + [path for path in sorted((DOCS / "results" / FOLDER).glob("*")) if path not in made]


def with_table(text: str, table: str) -> str:
    """Replace the table between the marks of a page."""
    before, rest = text.split(_MARKS[0])
    _, after = rest.split(_MARKS[1])
    return f"{before}{_MARKS[0]}{table}{_MARKS[1]}{after}"


def main(words: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="*", type=Path, help="directories of finished runs")
    parser.add_argument("--campaign", type=Path, help="what mclrec reproduce has written there")
    parser.add_argument(
        "--unfinished", action="store_true", help="publish tables of a campaign with runs that are not done"
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing, and fail where a page is outdated"
    )
    parser.add_argument("--ranks", action="store_true", help="publish the ranks of the runs too")
    parser.add_argument(
        "--targets", nargs="+", default=[], metavar="DATA", help="write down their test targets"
    )
    parser.add_argument(
        "--weights", type=Path, metavar="DIR", help="only write release assets of the runs there"
    )
    parser.add_argument("--address", help="of the folder from which the assets will be downloaded")
    given = parser.parse_args(words)
    _check_words(parser, given)
    try:
        for line in _done(given):
            print(line)
    except MclrecError as problem:
        sys.exit(f"error: {problem}")


def _check_words(parser: argparse.ArgumentParser, given: argparse.Namespace) -> None:
    if given.unfinished and not given.campaign:
        parser.error("--unfinished needs --campaign")
    if given.check and (given.runs or given.campaign or given.targets or given.weights):
        parser.error("--check publishes nothing: leave out everything else")
    if given.weights and (not given.runs or not given.address or given.campaign or given.targets):
        parser.error("--weights needs the runs and --address, and excludes --campaign and --targets")


def _done(given: argparse.Namespace) -> list[object]:
    """Do what the arguments ask for; return the lines to print."""
    if given.check:
        _check()
        return []
    if given.weights:
        return [*publish_weights(given.runs, given.weights, given.address, RESULTS)]
    return [
        *publish(given.runs, given.campaign, given.targets, ranks=given.ranks, unfinished=given.unfinished)
    ]


def publish(
    runs: Sequence[Path],
    campaign: Path | None = None,
    targets: Sequence[str] = (),
    *,
    ranks: bool = False,
    unfinished: bool = False,
) -> list[Path]:
    """Publish runs, a campaign and targets of data sets, and make all pages and pictures: all or nothing.

    The files are written into a copy of the results, and the pages are made from that before anything is changed.

    Returns:
        The result files that were written.

    Raises:
        MclrecError: something cannot be published, or the pages cannot be made with it.
    """
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "results"
        shutil.copytree(RESULTS, copy)
        made = [publish_run(place, copy, ranks=ranks) for place in runs]
        made += publish_campaign(campaign, copy, unfinished=unfinished) if campaign else []
        made += [publish_targets(name, copy) for name in targets]
        drawn = {path: picture for path, picture in figures(copy).items() if not picture.is_drawn(path)}
        texts = pages(copy) | {path: picture.svg() for path, picture in drawn.items()}
        changed = {RESULTS / path.relative_to(copy): path.read_bytes() for path in _changed(copy)}
        _write_all(changed | {path: text.encode("utf-8") for path, text in texts.items()})
        return [RESULTS / path.relative_to(copy) for path in made]


def _changed(copy: Path) -> list[Path]:
    """Files of a copy of the results that are new or changed."""
    files = [path for path in sorted(copy.rglob("*")) if path.is_file() and not path.name.startswith(".")]
    there = {path: RESULTS / path.relative_to(copy) for path in files}
    return [path for path, old in there.items() if not old.is_file() or old.read_bytes() != path.read_bytes()]


def _write_all(files: Mapping[Path, bytes]) -> None:
    """Write files, none of which takes its place before all have been written."""
    with ExitStack() as stack:
        for path, content in files.items():
            stack.enter_context(atomic_file(path)).write_bytes(content)


def _check() -> None:
    if wrong := outdated(pages()) + outdated_figures(figures()):
        names = ", ".join(str(path.relative_to(ROOT)) for path in wrong)
        sys.exit(
            f"{names}: not what results/ gives; run python -m scripts.publish, and remove what belongs to no results"
        )


if __name__ == "__main__":
    main()
