"""`gain audit export` says in the log whom it was for, by a code: no words stand there in clear for ever."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from app.access.policy import Role
from app.access.principal import behalf_of
from app.administration import log_words
from app.audit.export import Filters
from app.db import Database
from app.runtime.auditing import export_log
from app.runtime.refusal import StartRefused
from tests.acts import rows
from tests.conftest import RING, SECRET

AUDITOR = behalf_of(Role.AUDITOR, ["GAIN"])
EXPORTED = "SELECT recipients, detail FROM audit_event WHERE action = 'audit.exported'"

Exporting = Callable[[str, str | None], Awaitable[Path]]


@pytest.fixture
def exported(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Exporting:
    """The command on the fresh database, for a recipient, of a party or the whole."""
    monkeypatch.setenv("GAIN_DATABASE_URL", database_url)
    monkeypatch.setenv("GAIN_SECRET", SECRET)
    monkeypatch.setenv("GAIN_KEY_RING", RING)
    output = tmp_path / "log.jsonl"

    async def run(recipient: str, party: str | None) -> Path:
        await asyncio.to_thread(export_log, tmp_path, output, Filters(party), recipient, "", print)
        return output

    return run


@pytest.mark.parametrize("recipient", ["ICO", "SWP"])
async def test_who_was_given_the_log_can_be_searched_for(
    database: Database, exported: Exporting, recipient: str
) -> None:
    assert (await exported(recipient, "HMRC")).exists()
    [event] = await rows(database, EXPORTED)
    assert (event["recipients"], event["detail"]["party"]) == ([recipient], "HMRC")
    async with database.transaction(AUDITOR) as connection:
        assert await log_words.is_party(connection, recipient)


@pytest.mark.parametrize(
    ("recipient", "party", "option"),
    [
        ("Ms Quillfeather of the ICO", None, "--recipient"),
        ("ICO", "Quillfeather", "--party"),
        ("", None, "--recipient"),
    ],
)
async def test_words_for_a_party_are_refused_with_the_codes_and_neither_logged_nor_repeated(
    database: Database, exported: Exporting, recipient: str, party: str | None, option: str
) -> None:
    with pytest.raises(StartRefused, match=rf"^{option} takes one of .*\bHMRC, .*\bSWP, .*ICO$") as refused:
        await exported(recipient, party)
    assert "Quillfeather" not in str(refused.value)
    assert await rows(database, EXPORTED) == []
