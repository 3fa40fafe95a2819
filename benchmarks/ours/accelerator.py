"""Name of the CUDA device, if there is one. Request: empty."""

from __future__ import annotations

import torch

from benchmarks.child import Document, Request, answer, versions

__all__ = ["measure"]


def measure(request: Request) -> Document:  # noqa: ARG001 - the interface of a child
    """Answer a request, as the module's docstring describes."""
    found = torch.cuda.is_available()
    return {
        "device": torch.cuda.get_device_name() if found else None,
        "cuda": torch.version.cuda,
        "versions": versions(["torch"]),
    }


if __name__ == "__main__":
    answer(measure)
