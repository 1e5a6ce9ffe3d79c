"""Playing it: South Wales refers, 22 bodies answer, the product and the numbers are printed."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.rule import Rule

from workers.simulation.demonstration import picture, report
from workers.simulation.demonstration.comparison import Played, comparison
from workers.simulation.demonstration.exchange import Document, Exchange, Unplayable
from workers.simulation.demonstration.screen import Screen, Snapshot, table
from workers.simulation.demonstration.standing import all_final, missing, standings
from workers.simulation.roster import SIMULATED
from workers.simulation.scenario import lava_referrals

SPEED = 30_000.0
"""How many times faster than life the bodies work: their longest wait, six days, then takes 17 seconds."""

DEADLINE_SECONDS = 150.0
"""From the first submission until it gives up. What a killed worker had in its hands is free after 90 seconds."""

_FORCE, _COORDINATOR = "SWP", "TARIAN"
_LOOK_SECONDS = 0.5
_PICTURED_AT = 0.6  # the share of answers at which the picture's table is taken


class Demonstration:
    """One performance on one console. Its clock starts when it is made."""

    def __init__(self, console: Console, seed: int, speed: float, picture_file: Path | None = None) -> None:
        self._console = console
        self._seed = seed
        self._speed = speed
        self._picture_file = picture_file
        self._began = time.monotonic()
        self._pictured: Snapshot | None = None

    def announce(self) -> None:
        """Say what is about to happen."""
        pace = "answer at once" if self._speed <= 0 else f"work {self._speed:,.0f} times faster than life"
        self._console.print(Rule("[bold]Operation Lava"))
        self._console.print(
            "South Wales Police refers the main subject of one organised crime group and thirteen associates to 22 "
            f"bodies. All persons are synthetic. The bodies are simulated and {pace}; the broker is the real one."
        )
        self._console.print("Starting it: [bold]gain up --simulate[/bold] …")

    def introduce(self, url: str, people: Sequence[Sequence[str]]) -> None:
        """Name the people who can sign in, with all that opens their accounts: this is a demonstration."""
        self._console.print(f"Sign in at {url}/sign-in while it runs, as one of these:", highlight=False)
        for username, party, role, password, secret in people:
            told = f"  {username} ({role} of {party}), password {password}, TOTP secret {secret}"
            self._console.print(told, highlight=False, soft_wrap=True)

    def play(self, url: str, issue: Callable[[str], str]) -> int:
        """Play on the system at `url`; `issue` gives a key of a party. Returns the exit code."""
        self._console.print(f"Ready after {self._elapsed():.1f} s at {url}", highlight=False)
        with ThreadPoolExecutor() as pool:
            force_key, coordinator_key = pool.map(issue, (_FORCE, _COORDINATOR))
        try:
            with Exchange(url, force_key) as force, Exchange(url, coordinator_key) as coordinator:
                return self._play(force, coordinator)
        except Unplayable as problem:
            self._console.print(f"[bold red]The demonstration ended:[/] {problem}.")
            return 1

    def conclude(self, said: Sequence[str], kept: Path | None) -> None:
        """Say how it ended, once all is stopped: what `gain up` said, where its data is, and where to look next."""
        for line in said:
            self._console.print(f"gain up said: {line}", style="dim", highlight=False, soft_wrap=True)
        if kept is not None:
            told = f"The data is kept: gain up --simulate --data-dir {kept}"
            self._console.print(told, highlight=False, soft_wrap=True)
        self._console.print(f"Everything is stopped. It took {self._elapsed():.0f} s in all.", highlight=False)

    def _play(self, force: Exchange, coordinator: Exchange) -> int:
        receipts, accepted = self._submit(force)
        first = time.monotonic() - sum(receipts)
        referrals = self._watch(force, coordinator, len(accepted), first)
        seconds = time.monotonic() - first
        lacking = missing(referrals, sorted(SIMULATED), len(accepted))
        if lacking:
            return self._fail(lacking, seconds)
        ids = [one["id"] for one in accepted]
        products = [force.product(id_) for id_ in ids]
        events = [event for id_ in ids for event in force.events(id_)]
        self._tell(Played(referrals, products, events, receipts, _COORDINATOR, self._speed, seconds))
        return 0

    def _submit(self, force: Exchange) -> tuple[list[float], list[Document]]:
        receipts, accepted = [], []
        for referral in lava_referrals(self._seed):
            began = time.monotonic()
            accepted.append(force.submit(referral))
            receipts.append(time.monotonic() - began)
        references = f"{accepted[0]['reference']} to {accepted[-1]['reference']}"
        told = f"{len(accepted)} referrals submitted in {sum(receipts):.2f} s: {references}"
        self._console.print(told, highlight=False)
        return receipts, accepted

    def _watch(self, force: Exchange, coordinator: Exchange, count: int, first: float) -> list[Document]:
        """Show how the bodies stand until everything is final or time is up; the referrals as they are then."""
        with Screen(self._console) as screen:
            while True:
                referrals = force.newest_referrals(count)
                snapshot = self._snapshot(referrals, coordinator, count, first)
                screen.show(snapshot)
                self._remember(snapshot)
                if all_final(referrals) or snapshot.seconds > DEADLINE_SECONDS:
                    break
                time.sleep(_LOOK_SECONDS)
        self._console.print(table(snapshot, self._console.width))
        return referrals

    def _snapshot(self, referrals: list[Document], coordinator: Exchange, count: int, first: float) -> Snapshot:
        queues = {row["agency"]: row for row in coordinator.queues()}
        counted = standings(referrals, SIMULATED)
        return Snapshot(counted, queues, count * len(SIMULATED), time.monotonic() - first, datetime.now(UTC))

    def _remember(self, snapshot: Snapshot) -> None:
        if self._pictured is None and snapshot.settled >= _PICTURED_AT * snapshot.expected:
            self._pictured = snapshot

    def _fail(self, lacking: Sequence[str], seconds: float) -> int:
        self._console.print(f"[bold red]Not everything was answered within {seconds:.0f} s:[/]")
        for line in lacking:
            self._console.print(f"  {line}", highlight=False)
        return 1

    def _tell(self, played: Played) -> None:
        show = self._console.print
        show()
        show(Rule("[bold]The consolidated product of the main subject"))
        show(report.full(played.products[0]))
        show()
        show(Rule("[bold]The thirteen associates"))
        show(report.short(played.products[1:]))
        show()
        show(Rule("[bold]What email would have needed, and what it took"))
        show(comparison(played))
        show()
        show("Look further: [bold].venv/bin/gain up --simulate[/bold], then the tour in README.md.", highlight=False)
        if self._picture_file is not None and self._pictured is not None:
            picture.draw(self._picture_file, self._pictured, comparison(played))

    def _elapsed(self) -> float:
        return time.monotonic() - self._began
