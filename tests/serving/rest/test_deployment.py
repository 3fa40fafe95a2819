"""The documented deployment, tested with the files in the documentation: nginx, systemd, a JDK client, Prometheus."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from getpass import getuser
from pathlib import Path

import httpx
import pytest
from tests.serving.rest.conftest import NAMES, Running, free_port, serving, until

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "docs" / "deploy"
NAME = "recommend.example.com"
KEY, ADMIN = "a-key-of-enough-characters", "an-administrators-key"
HEADERS = {"Host": NAME, "Authorization": f"Bearer {KEY}"}


def program(name: str, package: str) -> str:
    """Path of a program. If it is not installed, skip the test, or fail it in CI."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if found is None:
        reason = f"{name} is not installed: apt-get install {package}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def run(*words: str | Path, **options: str) -> str:
    """Run a command that must succeed, and return its output on both streams."""
    done = subprocess.run(
        [str(word) for word in words],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@contextmanager
def background(*words: str | Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as file:
        process = subprocess.Popen([str(word) for word in words], stdout=file, stderr=file)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.parametrize("name", ["nginx.conf", "mclrec@.service", "prometheus.yml", "alerts.yml"])
def test_the_documentation_shows_the_file(name: str) -> None:
    assert (DEPLOY / name).read_text() in (ROOT / "docs" / "serving.md").read_text()


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Options of the systemd unit, with key files of this test."""
    unit = (DEPLOY / "mclrec@.service").read_text().replace("\\\n", " ")
    command = next(line for line in unit.splitlines() if line.startswith("ExecStart=")).partition(
        "serve /srv/model"
    )[2]
    folder = tmp_path_factory.mktemp("keys")
    for name, key in (("keys", KEY), ("admin-keys", ADMIN)):
        (folder / name).write_text(f"{key}\n")
        (folder / name).chmod(0o600)
    words = command.replace("/etc/mclrec", str(folder)).split()
    assert words[:2] == ["--port", "%i"]
    return words[2:]


@pytest.fixture(scope="module")
def service(
    model_directory: Path, tmp_path_factory: pytest.TempPathFactory, options: list[str]
) -> Iterator[Running]:
    with serving(model_directory, tmp_path_factory.mktemp("service"), *options) as running:
        yield running


@pytest.mark.slow
def test_nginx_before_two_processes(model_directory: Path, tmp_path: Path, options: list[str]) -> None:
    nginx = program("nginx", "nginx-light")
    small = ("--max-history", "300", "--max-queue", "301")  # the queue is soon full
    (tmp_path / "1").mkdir()
    (tmp_path / "2").mkdir()
    with (
        serving(model_directory, tmp_path / "1", *options, *small, "--drain", "600") as one,
        serving(model_directory, tmp_path / "2", *options, *small) as two,
        proxied(nginx, tmp_path, one, two) as url,
    ):
        asyncio.run(behind_nginx(url, one))


@contextmanager
def proxied(nginx: str, folder: Path, one: Running, two: Running) -> Iterator[str]:
    """Run nginx with the documented file, with ports and paths replaced by this test's."""
    certificate, key, port = folder / "cert.pem", folder / "key.pem", free_port()
    made = ("-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={NAME}")
    run("openssl", "req", *made, "-addext", f"subjectAltName=DNS:{NAME}", "-keyout", key, "-out", certificate)
    text = (DEPLOY / "nginx.conf").read_text()
    for documented, here in (
        ("127.0.0.1:8001", f"127.0.0.1:{one.address[1]}"),
        ("127.0.0.1:8002", f"127.0.0.1:{two.address[1]}"),
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("/etc/ssl/recommend.pem", str(certificate)),
        ("/etc/ssl/recommend.key", str(key)),
    ):
        assert text.count(documented) == 1
        text = text.replace(documented, here)
    paths = "".join(
        f"{name}_temp_path {folder}/{name};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    around = f"user {getuser()};\ndaemon off;\npid {folder}/pid;\nerror_log {folder}/errors;\nevents {{}}\n"
    (folder / "nginx.conf").write_text(f"{around}http {{\naccess_log off;\n{paths}{text}}}\n")
    with background(nginx, "-p", folder, "-c", folder / "nginx.conf", log=folder / "nginx.log"):
        url = f"https://127.0.0.1:{port}"
        until(lambda: reached(url))
        yield url


def reached(url: str) -> bool:
    try:
        return httpx.get(f"{url}/ready", headers=HEADERS, verify=False).status_code == 200
    except httpx.TransportError:
        return False


async def behind_nginx(url: str, one: Running) -> None:
    certificates = ssl.create_default_context()
    certificates.check_hostname, certificates.verify_mode = False, ssl.CERT_NONE
    limits = httpx.Limits(max_connections=64)
    async with httpx.AsyncClient(
        base_url=url, verify=certificates, timeout=60, headers=HEADERS, limits=limits
    ) as http:

        async def statuses(path: str, body: object, count: int) -> Counter[int]:
            answers = await asyncio.gather(*(http.post(path, json=body) for _ in range(count)))
            return Counter(answer.status_code for answer in answers)

        ask = {"history": NAMES[:3], "k": 3}
        assert await statuses("/recommend", ask, 200) == {200: 200}
        assert await statuses("/events", {"session": "s", "items": NAMES[:1]}, 50) == {200: 50}
        for path in ("/metrics", "/model/reload"):
            assert (await http.get(path)).status_code == 403
        # Overload: some requests are refused, later ones are answered, and nginx takes no process out of rotation.
        refused = await statuses("/recommend/batch", {"requests": [ask] * 256}, 60)
        assert set(refused) <= {200, 503, 504}, refused
        assert refused[503] > 0
        assert await statuses("/recommend", ask, 50) == {200: 50}
        # One process goes away: the other one answers everything.
        one.process.send_signal(signal.SIGTERM)
        until(lambda: httpx.get(f"{one.url}/ready").status_code == 503)
        assert await statuses("/recommend", ask, 200) == {200: 200}
        one.process.kill()
        one.process.wait()
        assert await statuses("/recommend", ask, 200) == {200: 200}


@pytest.mark.slow
def test_the_unit_is_one_of_systemd(tmp_path: Path) -> None:
    analyze = program("systemd-analyze", "systemd")
    mclrec = shutil.which("mclrec", path=str(Path(sys.executable).parent)) or sys.executable
    units = tmp_path / "etc" / "systemd" / "system"
    units.mkdir(parents=True)
    unit = (DEPLOY / "mclrec@.service").read_text().replace("/opt/mclrec/bin/mclrec", mclrec)
    (units / "mclrec@.service").write_text(unit)
    assert "mclrec" not in run(analyze, "verify", "--man=no", units / "mclrec@8001.service")
    run(program("systemctl", "systemd"), f"--root={tmp_path}", "enable", "mclrec@8001", "mclrec@8002")
    wanted = sorted(path.name for path in (units / "multi-user.target.wants").iterdir())
    assert wanted == ["mclrec@8001.service", "mclrec@8002.service"]


@pytest.mark.slow
def test_a_client_of_the_jdk(model_directory: Path, tmp_path: Path) -> None:
    java = program("java", "openjdk-17-jdk-headless")
    program("javac", "openjdk-17-jdk-headless")
    with serving(model_directory, tmp_path) as running:
        lines = run(java, Path(__file__).with_name("StockClient.java"), running.url).splitlines()
        assert [line[:3] for line in lines] == ["200"] * 4, lines
        first = httpx.post(f"{running.url}/recommend", json={"history": ["item 01"], "k": 1})
        assert lines[0] == f"200 {first.text}"


@pytest.mark.slow
def test_prometheus_reads_the_metrics(service: Running, tmp_path: Path) -> None:
    prometheus, promtool = program("prometheus", "prometheus"), program("promtool", "prometheus")
    key = tmp_path / "prometheus-key"
    key.write_text(ADMIN)
    text = (DEPLOY / "prometheus.yml").read_text().replace("/etc/mclrec/prometheus-key", str(key))
    text = text.replace('"127.0.0.1:8001", "127.0.0.1:8002"', f'"127.0.0.1:{service.address[1]}"')
    text = text.replace("scrape_interval: 15s", "scrape_interval: 1s")
    (tmp_path / "prometheus.yml").write_text(text)
    shutil.copy(DEPLOY / "alerts.yml", tmp_path)
    run(promtool, "check", "config", tmp_path / "prometheus.yml")
    metrics = httpx.get(f"{service.url}/metrics", headers={"Authorization": f"Bearer {ADMIN}"}).text
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=metrics, text=True, capture_output=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
    httpx.post(f"{service.url}/recommend", json={"history": ["item 01"]}, headers=HEADERS)
    port = free_port()
    words = (f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data")
    with background(prometheus, *words, f"--web.listen-address=127.0.0.1:{port}", log=tmp_path / "log"):
        asked = 'sum(mclrec_requests_total{job="mclrec", route="/recommend", status="200"})'
        until(lambda: value_of(port, "up") == 1)
        until(lambda: (value_of(port, asked) or 0) >= 1)
        rules = httpx.get(f"http://127.0.0.1:{port}/api/v1/rules").json()["data"]["groups"]
        assert [rule["health"] in ("ok", "unknown") for group in rules for rule in group["rules"]] == [
            True
        ] * 5


def value_of(port: int, query: str) -> float | None:
    """The value of a Prometheus query; None if there is none, or Prometheus does not listen yet."""
    try:
        answer = httpx.get(f"http://127.0.0.1:{port}/api/v1/query", params={"query": query}).json()
    except (httpx.TransportError, json.JSONDecodeError):
        return None
    found = answer["data"]["result"]
    return float(found[0]["value"][1]) if found else None
