"""The README's curl tour, word for word, against a running system."""

import os
import re
import subprocess
from pathlib import Path

from app.runtime.system import running_system

ROOT = Path(__file__).parents[2]


def _tour(url: str) -> str:
    """The tour's shell blocks after the one that starts the broker, with this system's address."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    tour = text[text.index("## A tour in five minutes") : text.index("## How it is put together")]
    blocks = re.findall(r"```sh\n(.*?)```", tour, flags=re.DOTALL)[1:]
    script = "set -euo pipefail\n" + "\n".join(blocks)
    assert "URL=http://127.0.0.1:8000" in script
    return script.replace("URL=http://127.0.0.1:8000", f"URL={url}")


def test_the_tour_works_as_it_is_written(tmp_path: Path) -> None:
    """Force, agency, force again, co-ordinator, somebody else."""
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    with running_system(tmp_path / "data", simulate=True) as url:
        done = subprocess.run(
            ["/bin/bash", "-c", _tour(url)],
            cwd=tmp_path,
            env={**os.environ, "GAIN_DATA_DIR": str(tmp_path / "data")},
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    told = done.stdout
    assert '"state": "acknowledged"' in told
    assert "Waste tipped at Plot 9" in told
    assert '"event": "referral.dispatched"' in told
    assert "/problems/role-not-allowed" in told
    assert "ceri@tarian.example\tTARIAN\tcoordinator\tinvited" in told
    assert "/problems/not-found" in told
