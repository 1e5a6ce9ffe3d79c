"""The channel to an agency without a platform: an email that says which items wait, and nothing of what they say.

Items for one mailbox that are handed over together go in one message. Nothing is lost with the process: each item is
leased until its own hand-over has ended.
"""

import asyncio
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from zoneinfo import ZoneInfo

import aiosmtplib

from app import clock
from app.parties.quota import Quota
from workers.adapters.contract import Adapter, Delivered, Envelope, Gone, Result, TransportError
from workers.mail_server import MailServer

WINDOW_SECONDS = 0.5
"""How long the first item waits for others."""

TOGETHER = 100
"""The most items in one message."""

_LONDON = ZoneInfo("Europe/London")

_WORDS = {"new": "", "chase": "reminder, ", "replied": "your question has been answered, "}

_Waiting = list[tuple[Envelope, "asyncio.Future[None]"]]


class Digests:
    """The messages that one process is about to send, by agency."""

    def __init__(self, server: MailServer, sender: str, base_url: str, window: float = WINDOW_SECONDS) -> None:
        self._server = server
        self._sender = sender
        self._base_url = base_url
        self._window = window
        self._waiting: dict[tuple[str, str], _Waiting] = {}
        self._sending: set[asyncio.Task[None]] = set()

    async def tell(self, address: str, envelope: Envelope) -> None:
        """Send this item with the others that come within the window. Raises what sending them raised."""
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault((envelope.agency, address), [])
        waiting.append((envelope, told))
        if len(waiting) == 1:
            task = asyncio.create_task(self._send_later(envelope.agency, address))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)
        await told

    def close(self) -> None:
        """Send nothing more; what waits is handed over again by others."""
        for task in self._sending:
            task.cancel()

    async def _send_later(self, agency: str, address: str) -> None:
        await asyncio.sleep(self._window)
        # Who was cancelled meanwhile has given its item back.
        waiting = [pair for pair in self._waiting.pop((agency, address)) if not pair[1].done()]
        for start in range(0, len(waiting), TOGETHER):
            await self._send(address, waiting[start : start + TOGETHER])

    async def _send(self, address: str, together: _Waiting) -> None:
        error: Exception | None = None
        try:
            await self._server.send(self._message(address, [envelope for envelope, _ in together]))
        except Exception as caught:
            error = caught
        for _, told in together:
            if told.done():
                continue
            if error is None:
                told.set_result(None)
            else:
                told.set_exception(error)

    def _message(self, address: str, items: list[Envelope]) -> EmailMessage:
        message = EmailMessage()
        message["From"] = self._sender
        message["To"] = address
        message["Subject"] = _subject(items)
        message["Date"] = format_datetime(clock.now())
        message["Message-ID"] = make_msgid(domain=self._sender.rpartition("@")[2].strip("> "))
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no automatic reply, please
        message.set_content(self._text(items))
        return message

    def _text(self, items: list[Envelope]) -> str:
        lines = [f"{_waits(items)} in the GAIN inbox of {items[0].agency}.", ""]
        for item in sorted(items, key=lambda item: (item.priority != "urgent", item.due_at)):
            due = item.due_at.astimezone(_LONDON).strftime("%d %B %Y, %H:%M").lstrip("0")
            lines.append(f"{item.reference}: {_WORDS[item.kind]}{item.priority}, answer by {due} (London)")
            lines.append(f"  {self._base_url}/my-inbox/{item.dispatch_id}")
        lines += ["", "This message says nothing about the subjects. Read and answer in the inbox."]
        return "\n".join(lines) + "\n"


class EmailAdapter(Adapter):
    """Tells one agency at its mailbox. One message a minute, so that what comes in between goes in one."""

    answers = False
    in_flight = TOGETHER

    def __init__(self, digests: Digests, address: str, per_day: int | None) -> None:
        self._digests = digests
        self._address = address
        self.quota = Quota(per_minute=1, per_day=per_day, together=TOGETHER)

    async def deliver(self, envelope: Envelope) -> Result:
        """The mail server took the message. Raises `Gone` where it refuses the mailbox, else `TransportError`."""
        try:
            await self._digests.tell(self._address, envelope)
        except aiosmtplib.SMTPRecipientsRefused as error:
            raise self._refused(error.recipients[0].code) from error
        except aiosmtplib.SMTPRecipientRefused as error:
            raise self._refused(error.code) from error
        except aiosmtplib.SMTPDataError as error:
            said = f"the mail server refused the message ({error.code})"
            raise TransportError(said, permanent=error.code >= 500) from error
        except aiosmtplib.SMTPResponseException as error:
            # A login, sender or greeting refused is our trouble with the server, not the agency's mailbox.
            raise TransportError(f"the mail server answered {error.code}") from error
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            raise TransportError(f"the mail server cannot be used ({type(error).__name__})") from error
        return Delivered()

    def _refused(self, code: int) -> TransportError:
        if code >= 500:
            return Gone(f"the mailbox was refused ({code})", self._address)
        return TransportError(f"the mailbox takes nothing now ({code})")


def _waits(items: list[Envelope]) -> str:
    return "1 referral waits" if len(items) == 1 else f"{len(items)} referrals wait"


def _subject(items: list[Envelope]) -> str:
    urgent = "URGENT: " if any(item.priority == "urgent" for item in items) else ""
    return f"{urgent}GAIN: {_waits(items)} in your inbox"
