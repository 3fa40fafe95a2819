"""Build and check the wheel and the sdist of a release: ``make dist``.

Both are built by the standard front end, the wheel from the unpacked sdist. The checks: what an index would show and
refuse (`twine check --strict`), that the wheel has every file of the package and no other, and that the sdist has every
file of the repository and no other, so that its tests, pages and benchmarks run without a repository.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

from scripts.empty_environment import ROOT, call

__all__ = ["DIST", "built", "sdist_problems", "unpacked", "wheel_problems"]

DIST = ROOT / "dist"
PACKAGE = "src/mclrec/"


def built(folder: Path = DIST) -> tuple[Path, Path]:
    """The wheel and the sdist that ``make dist`` has made."""
    wheels, archives = sorted(folder.glob("mclrec-*.whl")), sorted(folder.glob("mclrec-*.tar.gz"))
    if len(wheels) != 1 or len(archives) != 1:
        sys.exit(f"{folder}: {len(wheels)} wheels and {len(archives)} sdists, not one of each: make dist")
    return wheels[0], archives[0]


def unpacked(sdist: Path, folder: Path) -> Path:
    """Unpack an sdist into a folder, and return the folder of the project in it."""
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    return folder / sdist.name.removesuffix(".tar.gz")


def wheel_problems(names: Iterable[str], tracked: Iterable[str]) -> list[str]:
    """Missing and foreign files of a wheel, one message each.

    Args:
        names: names of its files.
        tracked: files of the repository.
    """
    ours = {name.removeprefix("src/") for name in tracked if name.startswith(PACKAGE)}
    held = {name for name in names if ".dist-info/" not in name}
    return _differences("the wheel", held, ours)


def sdist_problems(names: Iterable[str], tracked: Iterable[str]) -> list[str]:
    """Missing and foreign files of an sdist, one message each.

    Args:
        names: names of its files, below the folder of the project.
        tracked: files of the repository.
    """
    return _differences("the sdist", set(names) - {"PKG-INFO"}, set(tracked))


def _differences(what: str, held: set[str], wanted: set[str]) -> list[str]:
    lacking, foreign = sorted(wanted - held), sorted(held - wanted)
    return [f"{what} lacks {name}" for name in lacking] + [
        f"{what} has {name}, which is not one of our files" for name in foreign
    ]


def _tracked() -> list[str] | None:
    """Existing files of the repository; None outside of a repository, as in an sdist."""
    if not (ROOT / ".git").exists():
        return None
    words = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True).stdout  # noqa: S603 - our own words
    return [name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def _problems(wheel: Path, sdist: Path) -> list[str]:
    tracked = _tracked()
    if tracked is None:
        print("no repository here: the files of wheel and sdist are not compared with it")
        return []
    with zipfile.ZipFile(wheel) as files, tarfile.open(sdist) as archive:
        members = [member.name.partition("/")[2] for member in archive if not member.isdir()]
        return [*wheel_problems(files.namelist(), tracked), *sdist_problems(members, tracked)]


def main() -> None:
    """Build into ``dist/``, which contains nothing else afterwards, and check."""
    shutil.rmtree(DIST, ignore_errors=True)
    call(sys.executable, "-m", "build", "--outdir", DIST, ROOT)
    wheel, sdist = built()
    call(sys.executable, "-m", "twine", "--no-color", "check", "--strict", wheel, sdist)
    if problems := _problems(wheel, sdist):
        sys.exit("\n".join(problems))
    for path in (wheel, sdist):
        print(f"dist/{path.name}  {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
