"""Save, export and serve a random model with ``mclrec serve``, and load it with wrk at a fixed rate, open loop.

Request: ``items``, ``hidden_size``, ``rate`` (requests per second), ``seconds``, ``index`` (a kind or null),
``processes`` (if several, behind nginx), ``seed``.
Histories have lengths like Beauty's, log-normal with median 5 and at most 50; they are not meant to repeat.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
import torch

from benchmarks.child import Document, Request, answer, versions
from benchmarks.ours.proxy import proxied
from benchmarks.processes import ROOT, BenchmarkError
from mclrec.data.vocabulary import Vocabulary
from mclrec.inference.exporter import export_onnx
from mclrec.models.sasrec import SASRec, SASRecConfig
from mclrec.models.storage import save_model

__all__ = ["measure"]

_SCRIPT = ROOT / "benchmarks" / "load" / "open_loop.lua"
_MEDIAN, _SPREAD, _LONGEST = 5, 0.7, 50
_CONNECTIONS = 64
_WARM_SECONDS = 5
_START_SECONDS = 300
_CLUSTERS, _NOISE = (
    1000,
    0.5,
)  # trained vectors lie in clusters; an index over points without structure finds nothing


def measure(request: Request) -> Document:
    """Answer a request, as the module's docstring describes."""
    if shutil.which("wrk") is None:
        raise BenchmarkError("wrk is missing; Debian: apt-get install wrk")
    with tempfile.TemporaryDirectory() as folder:
        run, bodies = Path(folder) / "run", Path(folder) / "bodies"
        _save(run, request["items"], request["hidden_size"], request["seed"])
        report = export_onnx(run, index=request["index"])
        _draw_bodies(bodies, request["items"], int(request["rate"] * request["seconds"]), request["seed"])
        index = [] if request["index"] is None else ["--index", request["index"]]
        with _services(run, Path(folder), index, request["processes"]) as (url, processes):
            _load(url, bodies, request["rate"], _WARM_SECONDS)
            before = sum(_processor_seconds(process.pid) for process in processes)
            found = _load(url, bodies, request["rate"], request["seconds"])
            used = sum(_processor_seconds(process.pid) for process in processes) - before
            resident = sum(_resident(process.pid) for process in processes)
    return {
        **found,
        "rate": found["requests"] / found["seconds"],
        "processor_ms": 1000 * used / max(1, found["requests"]),
        "resident_bytes": resident,
        "recall": None if request["index"] is None else _recall(report),
        "versions": versions(("mclrec", "onnxruntime", "uvicorn", "fastapi")),
    }


def _save(directory: Path, items: int, hidden_size: int, seed: int) -> None:
    """Save a SASRec with random weights whose item vectors lie around cluster centers."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = SASRec(SASRecConfig.model_validate({"hidden_size": hidden_size}), items)
    centers = rng.normal(size=(_CLUSTERS, hidden_size)) / hidden_size**0.5
    vectors = (
        centers[rng.integers(_CLUSTERS, size=items)]
        + _NOISE * rng.normal(size=(items, hidden_size)) / hidden_size**0.5
    )
    with torch.no_grad():
        model.items().weight[1 : items + 1].copy_(torch.from_numpy(vectors))
    save_model(
        directory,
        name="sasrec",
        model=model,
        items=Vocabulary(range(1, items + 1)),
        counts=rng.integers(1, 100, size=items + 1),
        extra={"data": {"name": "drawn"}, "seed": seed},
    )


def _draw_bodies(path: Path, items: int, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    lengths = np.clip(np.round(rng.lognormal(np.log(_MEDIAN), _SPREAD, size=count)), 1, _LONGEST).astype(int)
    with path.open("w", encoding="ascii") as file:
        for length in lengths.tolist():
            history = rng.integers(1, items, size=length, endpoint=True).tolist()
            file.write(json.dumps({"history": history, "k": 10}) + "\n")


@contextmanager
def _services(
    run: Path, folder: Path, options: list[str], count: int
) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """Run one service, or several behind a proxy; yield the address and the serving processes."""
    with ExitStack() as stack:
        started = [
            stack.enter_context(_serving(run, folder / f"log-{number}", options)) for number in range(count)
        ]
        processes = [process for _, process in started]
        if count == 1:
            yield started[0][0], processes
            return
        addresses = [url.removeprefix("http://") for url, _ in started]
        url = stack.enter_context(proxied(addresses, _free_port(), folder))
        _wait(url, processes[0], folder / "errors")
        yield url, processes


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextmanager
def _serving(run: Path, log: Path, options: list[str]) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    port = _free_port()
    words = [sys.executable, "-m", "mclrec", "serve", str(run), "--port", str(port), *options]
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }  # the load generator has the other core
    with (
        log.open("wb") as file,
        subprocess.Popen(words, stdout=file, stderr=file, env=environment) as process,
    ):
        try:
            url = f"http://127.0.0.1:{port}"
            _wait(url, process, log)
            yield url, process
        finally:
            process.terminate()


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            with urlopen(f"{url}/ready") as reply:  # noqa: S310 - our own process
                reply.read()
            return
        except OSError:
            time.sleep(0.1)
    raise BenchmarkError(f"mclrec serve did not start: {log.read_text(errors='replace')[-1000:]}")


def _load(url: str, bodies: Path, rate: float, seconds: int) -> dict[str, Any]:
    words = ["wrk", "-t1", f"-c{_CONNECTIONS}", f"-d{seconds}s", "--timeout", "10s", "-s", str(_SCRIPT)]
    words += [f"{url}/recommend", "--", str(bodies), str(rate)]
    output = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found


def _processor_seconds(pid: int) -> float:
    """Processor seconds that a process has used, in user and in system mode."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))


def _recall(report: Any) -> float:
    return float(report.index["recall"])


if __name__ == "__main__":
    answer(measure)
