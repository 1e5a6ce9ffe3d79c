"""The real verbs on a real database, in any order that Hypothesis finds, against a model; the invariants after each."""

import asyncio
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import (
    invariant,
    run_state_machine_as_test,
)
from pydantic import SecretStr
from sqlalchemy import text

from app.db import Connection, Database
from app.parties.directory import DirectoryCache
from app.referrals.lifecycle import Acknowledgement, Verdict
from app.referrals.rounds import Reference
from app.referrals.states import DispatchState, ReferralState
from app.routing.reference import MatrixCache
from app.settings import Settings
from tests.app.lifecycle_steps import FEW_QUESTIONS, SHOWN
from tests.app.lifecycle_verbs import OfAgency, OfCoordinator, OfOriginator, OfSystem
from tests.conftest import RING, SECRET
from tests.invariants import check


class Lifecycle(OfOriginator, OfSystem, OfAgency, OfCoordinator):
    """One referral at a time; what the database and the model say of it is compared after every step."""

    @invariant()
    def the_database_says_what_the_model_says(self) -> None:
        if not hasattr(self, "id"):
            return

        async def read(connection: Connection) -> tuple[Any, list[tuple[str, int, str]]]:
            state = await connection.scalar(text("SELECT state FROM referral WHERE id = :id"), {"id": self.id})
            rows = await connection.execute(SHOWN, {"id": self.id})
            return state, [(row.agency, row.round, row.state) for row in rows]

        shown = self.run(read)
        self.met.update([f"referral {shown[0]}", *(f"dispatch {state}" for _, _, state in shown[1])])
        assert shown == self.case.shown()

    @invariant()
    def what_must_hold_holds(self) -> None:
        self.steps += 1
        if self.steps % self.check_every == 0:
            self.run(check)

    def teardown(self) -> None:
        """What must hold at the end of the case, whenever it was last looked at."""
        self.run(check)


async def _reference(database: Database) -> Reference:
    async with database.transaction() as connection:
        directory, matrix = await DirectoryCache().get(connection), await MatrixCache().get(connection)
    return Reference(directory, matrix, simulated=False)


# Nothing is disposed of here: what an answer then comes to, test_disposal.py and test_disposal_races.py tell.
ALL_THAT_CAN_BE_MET = {
    *(f"referral {state}" for state in ReferralState),
    *(f"dispatch {state}" for state in DispatchState),
    *(f"acknowledgement {result}" for result in Acknowledgement),
    *(f"answer {verdict}" for verdict in Verdict if verdict is not Verdict.DISPOSED),
}


@pytest.mark.timeout(3600)
def test_every_order_of_verbs_leads_where_the_model_says(
    database_url: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `--long` ten times as many cases, each more than twice as long."""
    monkeypatch.setattr("app.referrals.lifecycle.answer.MOST_QUESTIONS", FEW_QUESTIONS)
    long = request.config.getoption("faults") == "long"
    with asyncio.Runner() as runner:
        Lifecycle.runner = runner
        configuration = Settings(database_url=database_url, secret=SecretStr(SECRET), key_ring=SecretStr(RING))
        Lifecycle.database = Database(configuration)
        Lifecycle.reference = runner.run(_reference(Lifecycle.database))
        Lifecycle.check_every, Lifecycle.met = (20 if long else 1), Counter()
        try:
            run_state_machine_as_test(
                Lifecycle,
                settings=settings(
                    max_examples=300 if long else 30,
                    stateful_step_count=60 if long else 25,
                    phases=[Phase.generate],  # to shrink a failure takes minutes, and its steps tell enough
                    deadline=None,
                    derandomize=True,
                    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
                ),
            )
        finally:
            runner.run(Lifecycle.database.close())
    if long:
        assert Lifecycle.met.keys() >= ALL_THAT_CAN_BE_MET, "a state or verdict that never came up"
