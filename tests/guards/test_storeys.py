"""Imports only go down: the contract of pyproject.toml holds, and sees each kind of offence against it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINT = Path(sys.executable).with_name("lint-imports")

OFFENCES = {
    "a lower storey imports a higher one": ("app/parties/stray.py", "import app.referrals"),
    "a door imports another": ("app/intake/stray.py", "import app.inbox"),
    "a module has no storey": ("app/stray.py", "import app.db"),
    "a slice imports the workers": ("app/referrals/stray.py", "import workers.tasks"),
    "a door imports the workers": ("app/status/stray.py", "import workers.adapters.contract"),
    "a worker imports a door": ("workers/tasks/stray.py", "import app.inbox"),
    "a worker imports FastAPI": ("workers/stray.py", "import fastapi"),
    "a rule imports the database": ("app/referrals/states.py", "import sqlalchemy"),
    "a rule reaches the database through another module": ("app/access/policy.py", "import app.audit.models"),
    "a rule of routing imports the network": ("app/routing/matrix.py", "import httpx"),
    "a rule of the audit imports the web": ("app/audit/tree.py", "import app.web"),
    "deadlines import the database": ("app/referrals/deadlines.py", "import app.db"),
    "an adapter imports the database": ("workers/adapters/stray.py", "import app.db"),
    "an adapter imports Celery": ("workers/adapters/stray.py", "import celery"),
    "an adapter imports another": ("workers/adapters/stray.py", "import workers.adapters.other"),
}


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter over the packages in this folder."""
    return subprocess.run([LINT, "--no-logo", "--no-cache"], cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The two packages and the contract, free to be offended against."""
    for package in ("app", "workers"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "workers/adapters/other.py").write_text('"""Another adapter."""\n')
    return tmp_path


def test_the_house_keeps_its_storeys(copy: Path) -> None:
    done = lint(copy)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("offence", OFFENCES)
def test_an_offence_is_seen(copy: Path, offence: str) -> None:
    file, line = OFFENCES[offence]
    with (copy / file).open("a", encoding="utf-8") as target:
        target.write(f"{line}\n")
    done = lint(copy)
    assert done.returncode == 1
    assert "BROKEN" in done.stdout
