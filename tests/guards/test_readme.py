"""The README tells what there is: every setting, and files that exist."""

import re
from pathlib import Path

import pytest

from app.settings import Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_every_setting_is_in_the_table(name: str) -> None:
    """A setting nobody is told of is not one."""
    assert f"`GAIN_{name.upper()}`" in README


def test_every_link_leads_to_a_file() -> None:
    """Within the repository."""
    links = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_page_of_the_log_names_the_events_of_the_key_ring() -> None:
    page = (ROOT / "docs" / "audit.md").read_text(encoding="utf-8")
    told = next(line for line in page.splitlines() if line.startswith("| `gain keyring "))
    code = (ROOT / "app" / "runtime" / "key_ring.py").read_text(encoding="utf-8")
    assert set(re.findall(r"`(?:keyring)?\.(\w+)`", told)) == set(re.findall(r'"keyring\.(\w+)"', code))
