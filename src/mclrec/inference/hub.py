"""Models on the Hugging Face Hub: upload a run's files with checksums, download and verify them."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mclrec.arguments import check_flag, path_of, text_of
from mclrec.crashes import refusals_as_ours
from mclrec.errors import MclrecError, ModelFileError, OutputError
from mclrec.extras import require
from mclrec.files import sha256_file
from mclrec.inference.published_models import PUBLISHED_FILES
from mclrec.sealed_json import read_sealed, sealed

__all__ = ["CHECKSUMS", "download_model", "push_to_hub"]

CHECKSUMS = "checksums.json"
"""File beside a model on the Hub, with the SHA-256 of each of the model's files."""


@refusals_as_ours()
def push_to_hub(
    run: Any,
    repository: str,
    *,
    private: bool = False,
    revision: str | None = None,
    message: str | None = None,
) -> str:
    """Upload a finished run's model to the Hugging Face Hub, from where `mclrec.Model.from_pretrained` loads it.

    The upload contains the card, the weights as safetensors, the items, the settings, the metrics and the history of
    epochs, with a checksum of each; no ranks of users, no checkpoints and no log. Models with user vectors contain the
    users' ids. Files of a model that was there before are replaced or removed; other files stay. Access and server are
    configured as for huggingface_hub: ``hf auth login``, ``HF_TOKEN``, ``HF_ENDPOINT``.

    Args:
        run: the run, or its directory.
        repository: ``owner/name`` on the Hub; created if it does not exist.
        private: whether a newly created repository is private.
        revision: branch to commit to; the main branch by default.
        message: commit message.

    Returns:
        The URL of the commit.

    Raises:
        ModelFileError: the run is damaged or not finished.
        OutputError: the Hub rejects the upload.
        ConfigError: huggingface_hub is not installed.
    """
    require("the Hugging Face Hub")
    private = check_flag("private", private)
    directory = path_of("run", getattr(run, "directory", run))
    named = text_of("repository", repository)
    _check_loads(directory)
    names = [name for name in PUBLISHED_FILES if (directory / name).is_file()]
    sums = sealed({name: sha256_file(directory / name, ModelFileError) for name in names})
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    with _ours(f"{named}: the Hub did not accept it", OutputError), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about the items' Parquet file, taken for a data set
        api = HfApi(library_name="mclrec")
        api.create_repo(named, private=private, exist_ok=True)
        files = [CommitOperationAdd(name, str(directory / name)) for name in names]
        files.append(CommitOperationAdd(CHECKSUMS, _json(sums)))
        there = api.list_repo_files(named, revision=revision)
        of_another = [name for name in PUBLISHED_FILES if name in there and name not in names]
        done = api.create_commit(
            named,
            [*files, *map(CommitOperationDelete, of_another)],
            commit_message=message or "Upload a model of mclrec",
            revision=revision,
        )
    return str(done.commit_url)


@refusals_as_ours()
def download_model(repository: str, revision: str | None = None) -> Path:
    """Download a model from the Hub into huggingface_hub's cache, verify its checksums, and return the directory.

    Only a model's files are downloaded, whatever else the repository holds; none of them is a pickle. A checksum proves
    that a file is intact, not who wrote it: give a commit as the revision if others can write to the repository.

    Args:
        repository: ``owner/name`` on the Hub.
        revision: branch, tag or commit; the main branch by default.

    Raises:
        ModelFileError: the model does not exist, cannot be downloaded, or a file differs from the uploaded one.
        ConfigError: huggingface_hub is not installed.
    """
    require("the Hugging Face Hub")
    from huggingface_hub import snapshot_download

    named = text_of("repository", repository)
    with _ours(f"{named}: cannot be downloaded from the Hub", ModelFileError):
        wanted = [*PUBLISHED_FILES, CHECKSUMS]
        found = Path(
            snapshot_download(named, revision=revision, allow_patterns=wanted, library_name="mclrec")
        )
    if not (found / CHECKSUMS).is_file():
        raise ModelFileError(f"{named}: has no model uploaded by mclrec.push_to_hub: no {CHECKSUMS}")
    sums = read_sealed(found / CHECKSUMS, ModelFileError)
    if extra := [name for name in PUBLISHED_FILES if (found / name).is_file() and name not in sums]:
        raise ModelFileError(
            f"{named}: {extra[0]} is not of the uploaded model: {CHECKSUMS} does not name it"
        )
    for name, sha256 in sums.items():
        if name not in PUBLISHED_FILES or not (found / name).is_file():
            raise ModelFileError(f"{named}: {CHECKSUMS} names {name!r}, which is not a file of the model")
        if sha256_file(found / name, ModelFileError) != sha256:
            raise ModelFileError(f"{named}: {name} is not the file that was uploaded: its checksum differs")
    return found


def _check_loads(directory: Path) -> None:
    """Check that a model can be loaded from a directory, by loading it."""
    from mclrec.inference.model import Model

    Model.load(directory, engine="torch")


def _json(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()


@contextmanager
def _ours(what: str, error: type[MclrecError]) -> Iterator[None]:
    """Convert errors of huggingface_hub and its HTTP client to one of ours, with a one-line message."""
    try:
        yield
    except MclrecError:
        raise
    except Exception as problem:  # which HTTP package the errors come from depends on the version
        place = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
        lines = str(problem).split("\n")
        raise error(f"{what} ({place}): {next(filter(None, lines), type(problem).__name__)}") from None
