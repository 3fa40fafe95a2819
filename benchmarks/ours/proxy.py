"""Run nginx in front of several services: docs/deploy/nginx.conf without TLS, with the generator's request ids."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.processes import ROOT, BenchmarkError

__all__ = ["configuration", "proxied"]

_DOCUMENTED = ROOT / "docs" / "deploy" / "nginx.conf"
_PATHS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


@contextmanager
def proxied(services: Sequence[str], port: int, folder: Path) -> Iterator[str]:
    """Run nginx on a port until the block ends.

    Args:
        services: ``host:port`` of each service.
        port: port to listen on.
        folder: folder for nginx's files.

    Returns:
        The address of nginx.

    Raises:
        BenchmarkError: nginx is missing.
    """
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if nginx is None:
        raise BenchmarkError("nginx is missing; Debian: apt-get install nginx-light")
    written = folder / "nginx.conf"
    written.write_text(configuration(_DOCUMENTED.read_text(encoding="utf-8"), services, port, folder))
    words = [nginx, "-p", str(folder), "-c", str(written), "-e", str(folder / "errors")]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def configuration(documented: str, services: Sequence[str], port: int, folder: Path) -> str:
    """The documented configuration for these services, as a separate process that keeps its files in ``folder``.

    The load generator tells requests apart by its own ids, which the documented proxy would replace.
    """
    servers = "".join(f"    server {service} max_fails=0;\n" for service in services)
    text = re.sub(r"(    server 127\.0\.0\.1:\d+ max_fails=0;\n)+", servers, documented)
    text = re.sub(r"    (ssl_\w+) .*\n", "", text)
    text = text.replace("listen 443 ssl;", f"listen 127.0.0.1:{port};")
    text = text.replace("X-Request-Id $request_id;", "X-Request-Id $http_x_request_id;")
    paths = "".join(f"{name}_temp_path {folder}/{name};\n" for name in _PATHS)
    process = f"daemon off;\nworker_processes 1;\npid {folder}/pid;\nevents {{ worker_connections 1024; }}\n"
    return f"{process}http {{\naccess_log off;\n{paths}{text}}}\n"
