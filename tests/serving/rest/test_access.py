"""Access control: host names, pages of other sites, keys of clients and administrators; and request ids."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
from pathlib import Path

import httpx
import pytest
from tests.serving.rest.conftest import use

from mclrec.serving.rest.keys import KeyFile, Keys
from mclrec.serving.rest.sites import Sites
from mclrec.serving.rest.telemetry import configure_logs

KEY, ADMIN = "a-key-of-enough-characters", "an-administrators-key"
ASK = {"history": ["item 01"]}


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.mark.parametrize(
    ("host", "here", "everywhere"),
    [
        ("localhost", True, True),
        ("LOCALHOST.:8000", True, True),
        ("127.0.0.1:8000", True, True),
        ("127.8.9.1", True, True),
        ("[::1]:8000", True, True),
        ("recommend.example.com", True, True),
        ("recommend.example.com:443", True, True),
        ("10.0.0.7:8000", False, True),
        ("[2001:db8::1]", False, True),
        ("evil.example", False, False),
        ("evil.example:8000", False, False),
        ("localhost.evil.example", False, False),
        ("evil.example:localhost", False, False),
        ("localhost:8000:9000", False, False),
        ("localhost@evil.example", False, False),
        ("127.0.0.1.evil.example", False, False),
        ("2130706433", False, False),
        ("[::1", False, False),
        ("[::1]evil", False, False),
        (" ", False, False),
        ("", False, False),
        ("é", False, False),
    ],
)
def test_names_of_the_service(host: str, here: bool, everywhere: bool) -> None:
    for loopback, wanted in ((True, here), (False, everywhere)):

        async def work(http: httpx.AsyncClient, wanted: bool = wanted) -> None:
            for path in ("/", "/model", "/items", "/docs"):
                answer = await http.get(path, headers=[(b"host", host.encode("latin-1"))])
                assert answer.status_code == (200 if wanted else 421), path
                if not wanted:
                    assert "--allow-host" in answer.json()["detail"]
            assert (await http.get("/health", headers=[(b"host", host.encode("latin-1"))])).status_code == 200

        use(work, sites=Sites(["recommend.example.com"], loopback=loopback))


def test_any_name_and_several_names() -> None:
    async def work(http: httpx.AsyncClient) -> None:
        assert (await http.get("/model", headers={"Host": "any.example"})).status_code == 200
        two = [("Host", "any.example"), ("Host", "other.example")]
        assert (await http.get("/model", headers=two)).status_code == 421

    use(work, sites=Sites(["*"]))


@pytest.mark.parametrize(
    ("headers", "refused"),
    [
        ({}, False),
        ({"Origin": "http://localhost"}, False),
        ({"Origin": "https://localhost", "Sec-Fetch-Site": "same-origin"}, False),
        ({"Origin": "https://recommend.example.com"}, False),
        ({"Sec-Fetch-Site": "none"}, False),
        ({"Origin": "https://recommend.example.com:8443"}, True),
        ({"Origin": "http://localhost:3000"}, True),
        ({"Origin": "http://evil.example"}, True),
        ({"Origin": "null"}, True),
        ({"Origin": "file://localhost"}, True),
        ({"Origin": ""}, True),
        ({"Sec-Fetch-Site": "cross-site"}, True),
        ({"Sec-Fetch-Site": "same-site"}, True),
        ({"Origin": "http://localhost", "Sec-Fetch-Site": "cross-site"}, True),
    ],
)
def test_pages_of_other_sites_change_and_compute_nothing(headers: dict[str, str], refused: bool) -> None:
    async def work(http: httpx.AsyncClient) -> None:
        for path, body in (
            ("/model/reload", None),
            ("/recommend", ASK),
            ("/recommend/batch", {"requests": [ASK]}),
        ):
            answer = await http.post(path, json=body, headers=headers)
            assert answer.status_code == (403 if refused else 200), path
        assert (await http.get("/items", headers=headers)).status_code == 200  # unreadable for the page

    use(work, sites=Sites(["localhost", "recommend.example.com"]))


def test_a_form_cannot_reload() -> None:
    async def work(http: httpx.AsyncClient) -> None:
        for kind in (
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "text/plain",
            "",
        ):
            answer = await http.post("/model/reload", content=b"a=b", headers={"Content-Type": kind})
            assert answer.status_code == 415
        assert (await http.post("/model/reload")).status_code == 200

    use(work)


@pytest.mark.parametrize(
    ("keys", "admin", "loopback", "statuses"),
    [
        # reloads and metrics with: no key, a client's key, an administrator's key
        (None, None, True, (200, 200, 200)),
        (None, None, False, (403, 403, 403)),
        (KEY, None, True, (403, 403, 403)),
        (None, ADMIN, True, (401, 401, 200)),
        (KEY, ADMIN, False, (401, 401, 200)),
    ],
)
def test_reloads_and_metrics_have_keys_of_their_own(
    keys: str | None, admin: str | None, loopback: bool, statuses: tuple[int, ...]
) -> None:
    async def work(http: httpx.AsyncClient) -> None:
        for headers, status in zip(({}, bearer(KEY), bearer(ADMIN)), statuses, strict=True):
            assert (await http.post("/model/reload", headers=headers)).status_code == status
            assert (await http.get("/metrics", headers=headers)).status_code == status
        assert (await http.post("/recommend", json=ASK)).status_code == (401 if keys else 200)
        assert (await http.post("/recommend", json=ASK, headers=bearer(KEY))).status_code == 200

    use(
        work,
        keys=Keys([keys]) if keys else None,
        admin=Keys([admin]) if admin else None,
        sites=Sites(loopback=loopback),
    )


def test_keys_are_exchanged_without_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "keys"

    def write(text: str) -> None:
        path.with_suffix(".new").write_text(text)
        path.with_suffix(".new").chmod(0o600)
        path.with_suffix(".new").replace(path)

    def admitted() -> list[str]:
        keys.refresh()
        return [key for key in (KEY, ADMIN) if keys.admit(f"Bearer {key}".encode())]

    log = io.StringIO()
    configure_logs(log)
    write(KEY)
    keys = KeyFile(path)
    assert admitted() == [KEY]
    write(f"{KEY}\n{ADMIN}\n")
    assert admitted() == [KEY, ADMIN]
    for bad in ("", "short\n", "ä\n"):
        write(bad)
        assert admitted() == [KEY, ADMIN]
    path.unlink()
    assert admitted() == [KEY, ADMIN]
    write(ADMIN)
    assert admitted() == [ADMIN]
    events = [json.loads(line)["event"] for line in log.getvalue().splitlines()]
    assert events == [
        "keys read",
        "keys refused",
        "keys refused",
        "keys refused",
        "keys refused",
        "keys read",
    ]
    assert KEY not in log.getvalue()


def test_a_key_file_is_looked_at_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "keys"
    path.write_text(KEY)
    path.chmod(0o600)
    keys = KeyFile(path)
    path.write_text(ADMIN)
    os.utime(path, ns=(1, 1))
    assert keys.admit(f"Bearer {KEY}".encode())
    monkeypatch.setattr(keys, "_look", 0.0)
    assert not keys.admit(f"Bearer {KEY}".encode())


def test_each_request_has_an_id() -> None:
    log = io.StringIO()
    configure_logs(log)

    async def work(http: httpx.AsyncClient) -> None:
        for given, kept in (
            ("abc-1/2:3", True),
            ("x" * 128, True),
            ("x" * 129, False),
            ("a b", False),
            ("a\tb", False),
        ):
            for path in ("/health", "/nothing", "/similar/no such item"):
                answer = await http.get(path, headers={"X-Request-Id": given})
                assert (answer.headers["x-request-id"] == given) is kept
        made = {(await http.get("/health")).headers["x-request-id"] for _ in range(9)}
        assert len(made) == 9
        assert all(re.fullmatch("[0-9a-f]{16}", one) for one in made)
        refused = await http.get("/similar/x", headers={"Host": "evil.example", "X-Request-Id": "<script>"})
        await asyncio.sleep(0)  # request lines are written at the end of the event loop's iteration
        last = json.loads(log.getvalue().splitlines()[-1])
        assert (last["route"], last["status"]) == ("/similar/{item}", 421)
        assert last["id"] == refused.headers["x-request-id"]

    use(work)
