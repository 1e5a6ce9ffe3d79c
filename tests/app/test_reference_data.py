"""Loading the reference data into the database, and reading it back."""

import asyncio
from datetime import date

import pytest
from sqlalchemy import func, select, text, update

from app.db import Connection, Database
from app.parties import directory, reference
from app.parties.codes import Channel, PartyKind
from app.parties.models import Party, PartyRevision, ReferenceRelease
from app.parties.reference import ReferenceData, ReferenceDataError
from app.parties.snapshot import Snapshot
from app.routing import reference as routing
from app.routing.matrix import Facts, decide
from app.routing.models import RoutingRelease, RoutingRule
from app.runtime import migrate


def next_release(data: ReferenceData, **changes: str | Channel) -> ReferenceData:
    """The release after `data`, with DVLA changed."""
    agencies = dict(data.parties[PartyKind.AGENCY])
    agencies["DVLA"] = agencies["DVLA"].model_copy(update=changes)
    return data.model_copy(
        update={
            "version": data.version + 1,
            "valid_from": date(2027, 4, 1),
            "digest": "another",
            "parties": {**data.parties, PartyKind.AGENCY: agencies},
        }
    )


async def seed(database: Database) -> None:
    async with database.transaction() as connection:
        await migrate.seed(connection)


async def test_what_was_loaded_reads_back_as_the_files_say(database: Database) -> None:
    await seed(database)
    async with database.transaction() as connection:
        parties = await directory.load(connection)
        matrix = await routing.load_matrix(connection)
    assert list(parties) == list(reference.load().directory())
    assert matrix == routing.load().matrix()


async def test_decisions_from_the_database_are_those_of_the_files(database: Database) -> None:
    await seed(database)
    async with database.transaction() as connection:
        parties, matrix = await directory.load(connection), await routing.load_matrix(connection)
    facts = Facts("SWP", ["waste_crime", "fraud"])
    assert decide(facts, matrix, parties) == decide(facts, routing.load().matrix(), reference.load().directory())


async def test_loading_twice_changes_nothing(database: Database) -> None:
    await seed(database)
    await seed(database)
    async with database.transaction() as connection:
        releases = await connection.scalar(select(func.count()).select_from(ReferenceRelease))
        matrices = await connection.scalar(select(func.count()).select_from(RoutingRelease))
        revisions = await connection.scalar(select(func.count()).select_from(PartyRevision))
        parties = await connection.scalar(select(func.count()).select_from(Party))
    assert (releases, matrices) == (1, 1)
    assert revisions == parties == len(reference.load().directory())


async def test_two_processes_that_load_at_once_load_it_once(database: Database) -> None:
    await asyncio.gather(*(seed(database) for _ in range(4)))
    async with database.transaction() as connection:
        assert await connection.scalar(select(func.count()).select_from(ReferenceRelease)) == 1
        assert await connection.scalar(select(func.count()).select_from(RoutingRelease)) == 1


async def test_a_newer_release_changes_the_party_and_keeps_what_it_was(database: Database) -> None:
    await seed(database)
    newer = next_release(reference.load(), name="Vehicle Agency", channel=Channel.PUSH)
    async with database.transaction() as connection:
        await reference.seed(connection, newer)
        dvla = (await directory.load(connection))["DVLA"]
        names = await connection.scalars(
            select(PartyRevision.document["name"].astext)
            .where(PartyRevision.code == "DVLA")
            .order_by(PartyRevision.release)
        )
    assert (dvla.name, dvla.channel) == ("Vehicle Agency", "push")
    assert list(names) == ["Driver and Vehicle Licensing Agency", "Vehicle Agency"]


async def test_a_party_left_out_of_a_newer_release_can_still_be_named(database: Database) -> None:
    await seed(database)
    newer = next_release(reference.load())
    del newer.parties[PartyKind.AGENCY]["DVLA"]
    async with database.transaction() as connection:
        await reference.seed(connection, newer)
        assert (await directory.load(connection))["DVLA"].name == "Driver and Vehicle Licensing Agency"


async def test_an_older_program_leaves_a_newer_release_alone(database: Database) -> None:
    await seed(database)
    async with database.transaction() as connection:
        await reference.seed(connection, next_release(reference.load(), name="Vehicle Agency"))
        await reference.seed(connection)
        assert (await directory.load(connection))["DVLA"].name == "Vehicle Agency"


async def test_a_changed_file_that_kept_its_version_is_refused_in_one_line(database: Database) -> None:
    await seed(database)
    changed = reference.load().model_copy(update={"digest": "another"})
    async with database.transaction() as connection:
        with pytest.raises(ReferenceDataError, match=r"^parties\.toml was changed.*set version = 2\.$"):
            await reference.seed(connection, changed)
    matrix = routing.load().model_copy(update={"digest": "another"})
    async with database.transaction() as connection:
        with pytest.raises(ReferenceDataError, match=r"^matrix\.toml was changed.*set version = 2\.$"):
            await routing.seed(connection, matrix)


async def test_a_newer_matrix_decides_and_the_older_rules_can_still_be_looked_up(database: Database) -> None:
    await seed(database)
    file = routing.load()
    rules = {"waste-only": file.rules["waste-crime-wales"]}
    async with database.transaction() as connection:
        await routing.seed(connection, file.model_copy(update={"version": 2, "digest": "another", "rules": rules}))
        matrix = await routing.load_matrix(connection)
        old = await connection.scalar(
            select(RoutingRule.reason).where(RoutingRule.release == 1, RoutingRule.rule == "waste-crime-wales")
        )
    assert (matrix.release, [rule.rule for rule in matrix.rules]) == (2, ["waste-only"])
    assert old == "waste crime in Wales is regulated by Natural Resources Wales"


async def test_a_matrix_that_names_a_party_nobody_loaded_is_refused(database: Database) -> None:
    await seed(database)
    file = routing.load()
    newer = file.model_copy(update={"version": 2, "digest": "another", "named_only": frozenset({"NOBODY"})})
    async with database.transaction() as connection:
        with pytest.raises(ReferenceDataError, match=r"not loaded: NOBODY$"):
            await routing.seed(connection, newer)


async def test_a_changed_channel_is_seen_once_the_copy_is_too_old(database: Database) -> None:
    await seed(database)
    lasting, fleeting = directory.DirectoryCache(seconds=3600), directory.DirectoryCache(seconds=0)
    async with database.transaction() as connection:
        before = await lasting.get(connection)
        await fleeting.get(connection)
        await connection.execute(update(Party).where(Party.code == "DVLA").values(channel="push"))
        assert (await lasting.get(connection)) is before
        assert (await fleeting.get(connection))["DVLA"].channel == "push"
        lasting.forget()
        assert (await lasting.get(connection))["DVLA"].channel == "push"


async def test_however_many_requests_need_the_directory_it_is_read_once_for_all(database: Database) -> None:
    await seed(database)
    read = 0

    async def slowly(connection: Connection) -> int:
        nonlocal read
        read += 1
        number = read
        await connection.execute(text("SELECT pg_sleep(0.1)"))
        return number

    cache = Snapshot(slowly, seconds=0.05)
    assert await asyncio.gather(*(cache.read(database) for _ in range(100))) == [1] * 100
    await asyncio.sleep(0.1)
    first, *others = await asyncio.gather(*(cache.read(database) for _ in range(100)))
    assert (first, others) == (2, [1] * 99), "the others get what was there"
    assert read == 2


async def test_a_directory_that_cannot_be_read_fails_for_all_and_is_read_again(database: Database) -> None:
    await seed(database)
    read = 0

    async def once_not(connection: Connection) -> str:
        nonlocal read
        read += 1
        await connection.execute(text("SELECT 1"))
        if read == 1:
            raise ConnectionError
        return "there"

    cache = Snapshot(once_not)
    found = await asyncio.gather(*(cache.read(database) for _ in range(20)), return_exceptions=True)
    assert {type(one) for one in found} == {ConnectionError}
    gone = asyncio.create_task(cache.read(database))
    waits = asyncio.create_task(cache.read(database))
    await asyncio.sleep(0)
    gone.cancel()
    assert await waits == "there"
    assert read == 2


async def test_the_newest_matrix_is_read_once_for_many_decisions(database: Database) -> None:
    await seed(database)
    cache = routing.MatrixCache(seconds=3600)
    async with database.transaction() as connection:
        assert await cache.get(connection) is await cache.get(connection)
