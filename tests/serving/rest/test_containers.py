"""Container files, tested without a container daemon: what they name exists, and every dashboard query is valid."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from tests.serving.rest.test_deployment import program

from mclrec.cli.app import app
from mclrec.serving.rest.telemetry import Metrics

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "docs" / "deploy"
BOARD: dict[str, Any] = json.loads((DEPLOY / "grafana" / "dashboards" / "mclrec.json").read_text())
MODELS = "/srv/models"
COMPOSE: dict[str, Any] = yaml.safe_load(
    re.sub(r"\$\{MODELS[^}]*\}", MODELS, (DEPLOY / "compose.yaml").read_text())
)


def instructions() -> list[tuple[str, str]]:
    """Instructions of the Containerfile, with their arguments."""
    text = (DEPLOY / "Containerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split()[0], line.partition(" ")[2].strip()) for line in lines]


def parsed(words: list[str]) -> dict[str, Any]:
    """Options of `mclrec serve` by name; unknown ones raise."""
    import_module("mclrec.cli.commands")  # registers the commands
    group: Any = typer.main.get_command(app)
    found: dict[str, Any] = group.commands["serve"].make_context("serve", words).params
    return found


def test_the_image_runs_as_nobody_in_particular_and_is_asked_for_its_health() -> None:
    found = instructions()
    last = max(place for place, (word, _) in enumerate(found) if word == "FROM")
    stage = dict(found[last:])
    assert int(stage["USER"]) >= 1000
    places = [word for word, _ in found[last:]]
    assert places.index("USER") > max(place for place, word in enumerate(places) if word in ("RUN", "COPY"))
    check = json.loads(stage["HEALTHCHECK"].partition("CMD ")[2])
    compile(check[2], "health", "exec")
    assert "/ready" in check[2]
    assert json.loads(stage["ENTRYPOINT"]) == ["mclrec", "serve"]
    options = parsed(json.loads(stage["CMD"]))
    assert (options["host"], options["port"]) == ("0.0.0.0", int(stage["EXPOSE"]))
    copied = [one.split()[:-1] for word, one in found[:last] if word == "COPY"]
    for name in [name for names in copied for name in names]:
        assert (ROOT / name).exists(), name
    assert "'.[serve]'" in dict(found[:last])["RUN"]


def test_what_the_compose_file_names_is_there() -> None:
    services = COMPOSE["services"]
    options = parsed(shlex.split(services["mclrec"]["command"]))
    secrets = {f"/run/secrets/{name}" for name in services["mclrec"]["secrets"]}
    assert {str(options["api_key_file"]), str(options["admin_key_file"])} == secrets
    assert (DEPLOY / services["mclrec"]["build"]["context"]).resolve() == ROOT
    assert (ROOT / services["mclrec"]["build"]["dockerfile"]).is_file()
    for name, service in services.items():
        assert set(service.get("secrets", ())) <= COMPOSE["secrets"].keys(), name
        assert all(address.startswith("127.0.0.1:") for address in service.get("ports", ())), name
        for mount in service["volumes"]:
            source, target = mount.split(":")[:2]
            assert target.startswith("/")
            assert (DEPLOY / source).exists() or source in (*COMPOSE["volumes"], MODELS), mount
    scraped = yaml.safe_load((DEPLOY / "prometheus-compose.yml").read_text())["scrape_configs"][0]
    assert scraped["static_configs"][0]["targets"] == [f"mclrec:{options['port']}"]
    assert options["allow_host"] == ["mclrec"]
    assert scraped["authorization"]["credentials_file"] == "/run/secrets/admin-keys"


def test_grafana_is_provisioned_with_the_board_and_its_source() -> None:
    [source] = yaml.safe_load((DEPLOY / "grafana" / "datasources.yaml").read_text())["datasources"]
    [provider] = yaml.safe_load((DEPLOY / "grafana" / "dashboards.yaml").read_text())["providers"]
    mounts = dict(mount.split(":")[:2] for mount in COMPOSE["services"]["grafana"]["volumes"])
    assert mounts["./grafana/dashboards"] == provider["options"]["path"]
    assert source["url"] == "http://prometheus:9090"
    places = set()
    for panel in BOARD["panels"]:
        assert panel["datasource"]["uid"] == source["uid"]
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
        places.add((panel["gridPos"]["x"], panel["gridPos"]["y"]))
    assert len(places) == len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])


def queries() -> list[str]:
    """Queries of the dashboard, with Grafana's interval variable replaced by a duration."""
    asked = [target["expr"] for panel in BOARD["panels"] for target in panel["targets"]]
    asked += [one["expr"] for one in BOARD["annotations"]["list"]]
    return [one.replace("$__rate_interval", "1m") for one in asked]


def test_the_board_asks_for_metrics_that_the_service_has() -> None:
    text = Metrics(several=True).text().decode()
    known = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    known |= {f"{name}_{end}" for name in known for end in ("bucket", "sum", "count")}
    for query in queries():
        for name in re.findall(r"\b(?:mclrec|process)_[a-z_]+", query):
            assert name in known, name
    shown = {name for query in queries() for name in re.findall(r"\bmclrec_[a-z_]+", query)}
    own = set(re.findall(r"^# TYPE (mclrec_\S+)", text, re.MULTILINE))
    left = {name for name in own if not any(one.startswith(name) for one in shown)}
    assert left == {"mclrec_model_info", "mclrec_session_items_total", "mclrec_session_items_dropped_total"}


@pytest.mark.slow
def test_prometheus_takes_the_configuration_and_every_query(tmp_path: Path) -> None:
    promtool = program("promtool", "prometheus")
    (tmp_path / "admin-keys").write_text("a-key-of-enough-characters")
    text = (DEPLOY / "prometheus-compose.yml").read_text().replace("/run/secrets", str(tmp_path))
    (tmp_path / "prometheus.yml").write_text(text)
    (tmp_path / "alerts.yml").write_text((DEPLOY / "alerts.yml").read_text())
    rules = [{"record": f"board:{number}", "expr": query} for number, query in enumerate(queries())]
    (tmp_path / "board.yml").write_text(yaml.safe_dump({"groups": [{"name": "board", "rules": rules}]}))
    for words in (["config", "prometheus.yml"], ["rules", "board.yml"]):
        done = subprocess.run(
            [promtool, "check", *words], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
