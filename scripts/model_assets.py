"""Release assets of trained models: an archive of the model directory, its card, checksums, and registry entries."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

from mclrec.files import atomic_file, check_writable, sha256_file, write_text
from mclrec.inference.model import Model
from mclrec.inference.published_models import PUBLISHED_FILES
from mclrec.runs.run import Run
from scripts.row_identity import NotPublishableError, model_name, row_name

CHECKSUMS, ENTRIES = "SHA256SUMS", "published_models.toml"
_CARD = "README.md"

_LONG_AGO = (1980, 1, 1, 0, 0, 0)


def publish_weights(runs: Sequence[Path], folder: Path, address: str, results: Path) -> list[str]:
    """Write the assets of runs into a folder, and return the models' names.

    Args:
        runs: directories of finished runs on named data sets, one per system and data set.
        folder: folder for the assets.
        address: address of the folder that the archives will be downloaded from.
        results: folder of the published rows, whose settings the runs must have.

    Raises:
        MclrecError: a run is not a published row (see `name_of`), or is damaged.
    """
    check_writable(folder, "folder")
    named = [(name_of(directory, results), directory) for directory in runs]
    names = [name for name, _ in named]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise NotPublishableError(
            f"{', '.join(twice)}: several runs would have this name; choose one of them"
        )
    sums, entries = [], []
    for name, directory in named:
        Model.load(directory)  # refuses a damaged run
        archive = folder / f"{name}.zip"
        pack(directory, archive)
        write_text(folder / f"{name}.md", (directory / _CARD).read_text(encoding="utf-8"))
        checksum = sha256_file(archive)
        sums.append(f"{checksum}  {archive.name}\n")
        entries.append(_entry(name, Run(directory), f"{address.rstrip('/')}/{archive.name}", checksum))
    write_text(folder / CHECKSUMS, "".join(sums))
    write_text(folder / ENTRIES, "\n".join(entries))
    return names


def name_of(directory: Path, results: Path) -> str:
    """Name of a run's model, such as mclrec-beauty, or sasrec-relative-beauty for a section of its recipes.

    Raises:
        MclrecError: the run is not a row of the published results, or its settings differ from that row's.
    """
    run = Run(directory)
    row_name(run, results)
    return f"{model_name(run.info.model_dump(mode='json'))}-{run.info.data.name}"


def pack(directory: Path, archive: Path) -> None:
    """Pack a model directory; the same files make the same bytes."""
    with atomic_file(archive) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as packed:
        for name in PUBLISHED_FILES:
            if (directory / name).is_file():
                entry = zipfile.ZipInfo(name, _LONG_AGO)
                entry.external_attr = 0o644 << 16
                packed.writestr(entry, (directory / name).read_bytes())


def _entry(name: str, run: Run, address: str, checksum: str) -> str:
    """The model's entry of the registry."""
    info = run.info
    metrics = run.metrics["U"]
    about = f"{info.model} on {info.data.name}, seed {info.seed}; test HR@20 {metrics['HR@20']:.4f} under U"
    return f'[{name}]\nabout = "{about}"\naddress = "{address}"\nsha256 = "{checksum}"\n'
