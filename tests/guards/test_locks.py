"""An installation is what was tested: every package with its version and hash, from whatever registry a site uses."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCKS = ["requirements.txt", "requirements-build.txt", "requirements-dev.txt", "requirements-node.txt"]
PINNED = re.compile(
    r"^([A-Za-z0-9._-]+)==(\S+)((?: ; [^\\]+)?) \\\n((?: +--hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.M
)


def entries(lock: str) -> list[str]:
    """The requirement lines of a lock file, each with its hashes."""
    text = (ROOT / lock).read_text(encoding="utf-8")
    return [entry for entry in re.split(r"^(?=[^\s#])", text, flags=re.M) if not entry.startswith("#")]


def versions(lock: str) -> dict[str, str]:
    """Each package of a lock file with its version."""
    return {canonicalize_name(name): version for name, version, _, _ in PINNED.findall((ROOT / lock).read_text())}


def project() -> dict[str, Any]:
    """pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_is_pinned_and_hashed(lock: str) -> None:
    found = entries(lock)
    assert found
    assert [entry for entry in found if not PINNED.match(entry)] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_file_names_no_registry(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")
    assert "://" not in text
    assert not re.search(r"^--|index-url|find-links|trusted-host", text, flags=re.M)


@pytest.mark.parametrize(
    ("lock", "groups"),
    [
        ("requirements.txt", []),
        ("requirements-build.txt", ["build"]),
        ("requirements-dev.txt", ["dev"]),
        ("requirements-node.txt", ["node"]),
    ],
)
def test_a_lock_file_gives_what_the_project_asks_for(lock: str, groups: list[str]) -> None:
    asked = [line for group in groups for line in project()["dependency-groups"][group]]
    asked += [] if groups in (["build"], ["node"]) else project()["project"]["dependencies"]
    locked = versions(lock)
    for requirement in map(Requirement, asked):
        name = canonicalize_name(requirement.name)
        assert name in locked, f"{name} is missing from {lock}: run make lock"
        assert requirement.specifier.contains(locked[name]), f"{lock} has {name} {locked[name]}: run make lock"


def test_tests_run_on_the_versions_that_users_get() -> None:
    tested = versions("requirements-dev.txt")
    for lock in ["requirements.txt", "requirements-build.txt"]:
        given = versions(lock)
        assert given.items() <= tested.items()


def npm_packages() -> dict[str, dict[str, Any]]:
    """The packages of package-lock.json by where they go; the one without a place is the project."""
    packages: dict[str, dict[str, Any]] = json.loads((ROOT / "package-lock.json").read_text(encoding="utf-8"))[
        "packages"
    ]
    return packages


def test_every_npm_package_is_pinned_and_hashed_and_from_no_registry_in_particular() -> None:
    packages = {place: package for place, package in npm_packages().items() if place}
    assert {"node_modules/govuk-frontend", "node_modules/axe-core"} <= packages.keys()
    for package in packages.values():
        assert package["integrity"].startswith("sha512-")
        assert "resolved" not in package


def test_the_npm_lock_gives_exactly_what_the_project_asks_for() -> None:
    asked = json.loads((ROOT / "package.json").read_text(encoding="utf-8"))
    packages = npm_packages()
    for group in ("dependencies", "devDependencies"):
        assert packages[""][group] == asked[group]
        for name, version in asked[group].items():
            assert packages[f"node_modules/{name}"]["version"] == version
