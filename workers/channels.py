"""Which agencies an adapter of this process reaches, and by which. All others work from their inbox."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from app.crypto.keys import Keys
from app.crypto.webhooks import Signer
from app.database_clock import DatabaseClock
from app.db import Connection
from app.parties import channels
from app.parties.channels import Contact, Place
from app.parties.codes import Channel
from app.parties.hosts import ApprovedHosts, UnacceptableAddress
from app.parties.quota import Quota
from app.parties.snapshot import Snapshot
from app.settings import Settings
from workers.adapters.contract import Adapter
from workers.adapters.email import Digests, EmailAdapter
from workers.adapters.push import Endpoint, PushAdapter
from workers.adapters.unreachable import Unreachable
from workers.mail_server import MailServer
from workers.safe_http import SafeClient
from workers.simulation.roster import SIMULATED_BY_ADAPTER


@dataclass(frozen=True, slots=True)
class Reached:
    """The agencies that adapters look after: those whose adapters answer, and those that are only told.

    Of these, the address of some has `ended`: nobody can be told there until it is set anew.
    """

    answering: frozenset[str]
    told: frozenset[str]
    ended: frozenset[str]

    @property
    def all(self) -> frozenset[str]:
        """All of them."""
        return self.answering | self.told


def moved(before: Mapping[str, Place], after: Mapping[str, Place]) -> frozenset[str]:
    """Pure: the agencies that are not told any more where they were, or were set anew to be told there."""
    return frozenset(agency for agency, place in before.items() if after.get(agency) != place)


class Reach(Protocol):
    """The adapters of a process, by agency."""

    @property
    def places(self) -> Mapping[str, Place]:
        """Where the latest adapters that `get` gave tell their agencies; another mapping whenever one has changed."""
        ...

    async def get(self, connection: Connection) -> Mapping[str, Adapter]:
        """The adapter of each agency that has one now."""
        ...

    def forget(self) -> None:
        """Read again at the next `get`: an agency's channel has changed."""


class Fixed:
    """Adapters that never change."""

    def __init__(self, adapters: Mapping[str, Adapter]) -> None:
        self._adapters = adapters
        self.places: Mapping[str, Place] = {}

    async def get(self, connection: Connection) -> Mapping[str, Adapter]:
        """Those given."""
        return self._adapters

    def forget(self) -> None:
        """Do nothing."""


class Channels:
    """The adapters that the settings and the parties' channels call for, at most `seconds` old."""

    def __init__(self, configuration: Settings, seconds: float = 5.0) -> None:
        self._configuration = configuration
        self._hosts = ApprovedHosts.of(configuration)
        self._mail_server = MailServer.of(configuration)
        self._contacts = Snapshot(channels.load, seconds)
        self._seconds = seconds
        self._clock = DatabaseClock()
        self._built_of: list[Contact] | None = None
        self._adapters: dict[str, Adapter] = {}
        self.places: Mapping[str, Place] = {}

    def prepare(self) -> None:
        """Build the registers of the simulated bodies, where they are on, for child processes to share."""
        if self._configuration.simulate:
            from workers.adapters.simulated import prepare

            prepare(self._configuration.simulation_seed)

    async def reached(self, connection: Connection) -> Reached:
        """The agencies that `get` has adapters for, without building any."""
        contacts = await self._contacts.get(connection)
        answering = SIMULATED_BY_ADAPTER if self._configuration.simulate else frozenset[str]()
        told = frozenset(contact.agency for contact in contacts) - answering
        return Reached(answering, told, frozenset(one.agency for one in contacts if one.ended is not None) & told)

    async def get(self, connection: Connection) -> Mapping[str, Adapter]:
        """The adapter of each agency that has one now."""
        contacts = await self._contacts.get(connection)
        await self._clock.keep(connection, self._seconds)
        if contacts != self._built_of:
            told = {contact.agency: self._adapter(contact) for contact in contacts}
            self._adapters = {**told, **self._simulated}
            self._built_of = contacts
            self.places = {contact.agency: contact.place for contact in contacts}
        return self._adapters

    def forget(self) -> None:
        """Read the contacts again at the next `get`."""
        self._contacts.forget()

    async def close(self) -> None:
        """Close the connections of this process."""
        if "_client" in self.__dict__:
            await self._client.close()
        if "_digests" in self.__dict__ and self._digests is not None:
            self._digests.close()

    # Made when first needed, and so in the process and the loop that use them.

    @cached_property
    def _client(self) -> SafeClient:
        return SafeClient(self._hosts)

    @cached_property
    def _digests(self) -> Digests | None:
        if self._mail_server is None:
            return None
        return Digests(self._mail_server, self._configuration.email_from, self._configuration.url)

    @cached_property
    def _keys(self) -> Keys:
        return Keys(self._configuration.master_secret())

    @cached_property
    def _simulated(self) -> Mapping[str, Adapter]:
        if not self._configuration.simulate:
            return {}
        from workers.adapters.simulated import SimulatedAdapter

        adapter = SimulatedAdapter(self._configuration.simulation_seed, self._configuration.simulation_speed)
        return dict.fromkeys(SIMULATED_BY_ADAPTER, adapter)

    def _adapter(self, contact: Contact) -> Adapter:
        if contact.address is None:
            return Unreachable(f"no {'endpoint' if contact.channel is Channel.PUSH else 'mailbox'} is set")
        if contact.ended is not None:
            return Unreachable(contact.ended)
        if contact.channel is Channel.PUSH:
            return self._push(contact, contact.address)
        if self._digests is None:
            return Unreachable("no mail server is set (GAIN_SMTP_URL)")
        return EmailAdapter(self._digests, contact.address, contact.notices_per_day)

    def _push(self, contact: Contact, url: str) -> Adapter:
        try:
            self._hosts.check(url)  # the list of approved hosts may have changed since it was set
        except UnacceptableAddress as error:
            return Unreachable(str(error))
        return PushAdapter(
            self._client,
            Endpoint(url, Signer(self._keys, contact.agency, contact.versions)),
            self._configuration.url,
            now=self._clock.now,
            in_flight=self._configuration.agency_in_flight,
            quota=Quota(self._configuration.notices_per_minute, contact.notices_per_day),
        )
