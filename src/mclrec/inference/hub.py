"""Models on the Hugging Face Hub: a run's files with their checksums go up, and come down checked."""

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
"""File beside a model on the Hub: the SHA-256 of each of its files."""


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

    What is uploaded is the card, the weights as safetensors, the items, the settings, the metrics and the history of
    epochs, with a checksum of each; no ranks of users, no checkpoints and no log. Models with user vectors hold the
    users' ids.

    Args:
        run: the run, or its directory.
        repository: ``owner/name`` on the Hub; it is made if there is none.
        private: whether a repository that is made is private.
        revision: branch that is written to; the main one by default.
        message: of the commit.

    Returns:
        The address of the commit. Access and server are huggingface_hub's own: ``hf auth login``, ``HF_TOKEN``,
        ``HF_ENDPOINT``.

    Raises:
        ModelFileError: the run is damaged or not finished.
        OutputError: the Hub does not take it.
        ConfigError: huggingface_hub is not installed.
    """
    require("the Hugging Face Hub")
    check_flag("private", private)
    directory = path_of("run", getattr(run, "directory", run))
    named = text_of("repository", repository)
    _check_loads(directory)
    names = [name for name in PUBLISHED_FILES if (directory / name).is_file()]
    sums = sealed({name: sha256_file(directory / name, ModelFileError) for name in names})
    from huggingface_hub import CommitOperationAdd, HfApi

    with _ours(f"{named}: the Hub does not take it", OutputError), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of the items' Parquet file, as if it were a data set
        api = HfApi(library_name="mclrec")
        api.create_repo(named, private=private, exist_ok=True)
        files = [CommitOperationAdd(name, str(directory / name)) for name in names]
        files.append(CommitOperationAdd(CHECKSUMS, _json(sums)))
        done = api.create_commit(
            named, files, commit_message=message or "Upload a model of mclrec", revision=revision
        )
    return str(done.commit_url)


@refusals_as_ours()
def download_model(repository: str, revision: str | None = None) -> Path:
    """The directory of a model of the Hub in huggingface_hub's cache, with every file as its checksum says.

    Only files of a model are downloaded, whatever else the repository has; none of them is a pickle. A checksum says
    that a file is whole, and not who wrote it: name a commit where others may write.

    Args:
        repository: ``owner/name`` on the Hub.
        revision: branch, tag or commit; the main branch by default.

    Raises:
        ModelFileError: there is no such model, it cannot be downloaded, or a file is another one than was uploaded.
        ConfigError: huggingface_hub is not installed.
    """
    require("the Hugging Face Hub")
    from huggingface_hub import snapshot_download

    named = text_of("repository", repository)
    with _ours(f"{named}: cannot be had from the Hub", ModelFileError):
        wanted = [*PUBLISHED_FILES, CHECKSUMS]
        found = Path(
            snapshot_download(named, revision=revision, allow_patterns=wanted, library_name="mclrec")
        )
    if not (found / CHECKSUMS).is_file():
        raise ModelFileError(f"{named}: holds no model that mclrec.push_to_hub has uploaded: no {CHECKSUMS}")
    sums = read_sealed(found / CHECKSUMS, ModelFileError)
    for name, sha256 in sums.items():
        if name not in PUBLISHED_FILES or not (found / name).is_file():
            raise ModelFileError(f"{named}: {CHECKSUMS} names {name!r}, which is no file of the model")
        if sha256_file(found / name, ModelFileError) != sha256:
            raise ModelFileError(
                f"{named}: {name} is not the file that was uploaded: its checksum is another"
            )
    return found


def _check_loads(directory: Path) -> None:
    """Refuse a directory that no model can be loaded from."""
    from mclrec.inference.model import Model

    Model.load(directory, engine="torch")


def _json(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()


@contextmanager
def _ours(what: str, error: type[MclrecError]) -> Iterator[None]:
    """What huggingface_hub and its client of HTTP raise, as an error of ours in one line."""
    try:
        yield
    except MclrecError:
        raise
    except Exception as problem:  # the client's errors are of another package in each of its versions
        place = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
        lines = str(problem).split("\n")
        raise error(f"{what} ({place}): {next(filter(None, lines), type(problem).__name__)}") from None
