"""The gateway: the only place where all doors meet."""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator
from functools import partial

from fastapi import APIRouter, FastAPI, Response
from redis.asyncio import Redis
from sqlalchemy import text
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from app import logs, metrics
from app.access import account, purpose_page, set_up, sign_in, token_door, with_provider
from app.access.accounts.passwords import Passwords
from app.access.accounts.provider import Provider
from app.access.attempts import Attempts
from app.access.cookies import is_secure
from app.access.gate import Gate
from app.access.openapi import describe_access
from app.access.policy import Action
from app.access.routes import AccessRoute, permit, require_declarations
from app.administration import keys as keys_door
from app.administration import log as audit_log
from app.administration import log_pages
from app.audit.note import Signer
from app.crypto.keys import Keys, Purpose
from app.crypto.vault import check
from app.database_clock import DatabaseClock
from app.db import AS_GATEWAY, Database, is_away
from app.inbox import consents as consents_of_inbox
from app.inbox import own_policy as policy_door
from app.inbox import poll, read, respond
from app.inbox.listener import Listener
from app.inbox.versions import Versions
from app.inbox.waits import Waits
from app.inbox.web_inbox import answer_pages, consent_pages, hand_over, item_page, list_page, no_hits, policy_pages
from app.inbox.web_inbox.news import News
from app.intake import batches, messages, my_deeds, my_drafts, my_referrals, my_uploads, outcome, product, submit, track
from app.intake import consent_pages as my_consents
from app.intake import consents as consents_door
from app.intake import duplicates as own_duplicates
from app.intake.coalescer import Coalescer
from app.logs import logger
from app.parties.directory import DirectoryCache
from app.referrals.backlog import Bounds
from app.referrals.batches.receive import Desk
from app.referrals.gauge import SAMPLE_SECONDS, BacklogGauge
from app.referrals.presence import Presence
from app.reporting.sheets import Press
from app.routing.reference import MatrixCache
from app.settings import Settings, settings
from app.status import (
    actions,
    chase_pages,
    cover_pages,
    deed_pages,
    duplicate_pages,
    duplicates,
    export,
    handover_pages,
    queue_pages,
    queues,
    referral_page,
    report_pages,
    retention,
    search_page,
)
from app.status import consent_pages as consent_desk
from app.status import pages as status_pages
from app.status import reports as reports_door
from app.status.live import Live
from app.wake import Nobody, Wake
from app.web import cursor as cursors
from app.web.express import Lanes
from app.web.guard import BodyGuard, BodyLimit
from app.web.health import Probe, Readiness
from app.web.install import install
from app.web.routing import StrictRequest, StrictRoute
from workers.wake import LoopWake

log = logger()

OPEN_PATHS = frozenset(
    {"/health/live", "/health/ready", "/docs", "/openapi.json", "/problems", "/problems/", "/problems/{slug}"}
)
"""What anybody may read: nothing there depends on who asks."""

_OBJECTS_BEFORE_COLLECTION = 50_000
_CANCEL_AGAIN_SECONDS = 0.2

_BUSY = frozenset({"/v1/referrals", "/v1/inbox"})
"""Addresses whose every other microsecond counts: submitting, and polling an inbox."""


class _MetricsRoute(AccessRoute):
    """A route for whoever asks from this machine, and for others with a credential that may read metrics."""

    async def before_body(self, request: StrictRequest) -> None:
        if not metrics.from_loopback(request.scope):
            await super().before_body(request)


_metrics = APIRouter(route_class=_MetricsRoute, include_in_schema=False)


@_metrics.get("/metrics")
@permit(Action.READ_METRICS)
async def read_metrics() -> Response:
    """Prometheus metrics."""
    body, media_type = metrics.render()
    return Response(body, media_type=media_type)


# In the order of how often they are asked: routes are compared one after another.
DOORS = (
    poll.router,
    submit.router,
    consents_of_inbox.router,  # before the items of an inbox, whose address has an id in its place
    read.router,
    respond.router,
    track.router,
    product.router,
    outcome.router,
    consents_door.router,
    own_duplicates.router,
    queues.router,
    actions.router,
    duplicates.router,
    retention.router,
    reports_door.router,
    messages.router,
    my_drafts.router,
    my_uploads.router,
    my_referrals.router,
    my_deeds.router,
    my_consents.router,
    batches.router,
    status_pages.router,
    referral_page.router,
    deed_pages.router,
    duplicate_pages.router,
    consent_desk.router,
    queue_pages.router,
    chase_pages.router,
    search_page.router,
    export.router,
    handover_pages.router,
    cover_pages.router,
    list_page.router,
    no_hits.router,
    item_page.router,
    consent_pages.router,
    answer_pages.router,
    hand_over.router,
    policy_pages.router,
    policy_door.router,
    report_pages.router,
    log_pages.router,
    sign_in.router,
    account.router,
    purpose_page.router,
    set_up.router,
    with_provider.router,
    audit_log.router,
    token_door.router,
    keys_door.router,
    _metrics,
)


def together(*doors: APIRouter) -> list[BaseRoute]:
    """The routes of these doors, for any number of applications."""
    router = APIRouter()
    for door in doors:
        router.include_router(door)
    return router.routes


ROUTES = together(*DOORS)
"""The same for every application of a process: to bind each to its address takes a tenth of a second."""

_DESCRIPTION = """
The referral exchange of the Government Agency Intelligence Network. Forces submit referrals; every body asked answers
from its inbox; co-ordinators see what needs a person. Send `Authorization: Bearer <key>`.
"""


class _Application(FastAPI):
    """The application behind our own middleware alone."""

    def build_middleware_stack(self) -> ASGIApp:
        """Ours, without the three that the framework puts around it: each costs every request, and answers nothing.

        No error reaches them but that of an answer half sent (app/web/envelope.py), which they would pass on as it is.
        """
        stack = super().build_middleware_stack()
        while not isinstance(stack, BodyGuard):
            stack = stack.app  # type: ignore[attr-defined]
        return stack


def create_app(configuration: Settings | None = None, wake: Wake | None = None) -> FastAPI:
    """The gateway as an ASGI application. Raises `SettingsError` or `UndeclaredRoutes` rather than start half-safe."""
    configuration = configuration or settings()
    logs.configure("gateway", configuration.log_level)
    app = _Application(
        title="GAIN broker",
        description=_DESCRIPTION,
        version=metrics.version(),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},
        lifespan=_lifespan,
    )
    _furnish(app, configuration, wake)
    install(
        app,
        BodyLimit(configuration.body_limit_bytes),
        dict.fromkeys((batches.PATH, my_uploads.PATH), batches.UPLOAD),
        lanes=_lanes(),
        https=is_secure(configuration),
    )
    app.router.routes.extend(ROUTES)
    require_declarations(app, OPEN_PATHS)
    describe_access(app)
    return app


def _lanes() -> Lanes:
    """The busy routes by method and address."""
    routes = [route for router in (submit.router, poll.router) for route in router.routes]
    return {
        (method, route.path): route
        for route in routes
        if isinstance(route, StrictRoute) and route.path in _BUSY
        for method in route.methods or ()
    }


def _furnish(app: FastAPI, configuration: Settings, wake: Wake | None) -> None:
    """What the doors find on `app.state`."""
    database = Database(configuration, configuration.database_answer_seconds)
    keys = Keys(configuration.master_secret())
    app.state.settings = configuration
    app.state.database = database
    app.state.keys = keys
    cursors.sign_with(partial(keys.digest, Purpose.CURSOR))
    app.state.gate = Gate(configuration, keys, database)
    app.state.log_key = str(Signer.of(keys, configuration.log_origin).key)
    app.state.directory = DirectoryCache()
    app.state.desk = Desk(database, keys, app.state.directory)
    app.state.matrix = MatrixCache()
    app.state.backlog = gauge = BacklogGauge(Bounds(configuration.backlog_referrals, configuration.backlog_seconds))
    app.state.coalescer = Coalescer(database, gauge)
    app.state.database_clock = DatabaseClock()
    app.state.presence = Presence()
    app.state.press = Press()
    app.state.broker = broker = _broker(configuration)
    app.state.wake = wake or (Nobody() if broker is None else LoopWake(broker))
    helpful = {} if broker is None else {"broker": _broker_probe(broker)}
    needed = {"database": _database_probe(database), "keys": _keys_probe(database)}
    app.state.readiness = Readiness(needed, helpful)
    app.state.attempts = Attempts()
    app.state.token_attempts = Attempts(limit=60)
    app.state.departures = Attempts(limit=30)
    app.state.passwords = Passwords()
    app.state.provider = Provider(configuration) if configuration.oidc_issuer else None
    app.state.stopping = asyncio.Event()
    app.state.live = Live(database, app.state.readiness, gauge, app.state.stopping, app.state.gate.covers)
    app.state.versions = Versions()
    app.state.waits = Waits(database, app.state.versions, app.state.stopping, configuration.database_pool)
    app.state.inbox_news = News(database, app.state.versions, app.state.stopping)


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    # Frozen once, what is built at start is never scanned again: collections otherwise make the tail latency. What a
    # request leaves is freed by its reference counts, so that looking for cycles every 700 objects finds nothing.
    gc.collect()
    gc.freeze()
    gc.set_threshold(_OBJECTS_BEFORE_COLLECTION, 20, 100)
    state = app.state
    helpers = [
        asyncio.create_task(_write_presence(state.database, state.presence)),
        asyncio.create_task(_watch_backlog(state.database, state.backlog, state.database_clock)),
        asyncio.create_task(Listener(state.database, state.versions).run()),
        *(asyncio.create_task(helper) for helper in state.gate.helpers(state.broker)),
    ]
    yield
    await state.live.close()
    await state.inbox_news.close()
    await state.waits.close()
    for helper in helpers:
        await _end(helper)
    if state.broker is not None:
        await state.broker.aclose()
    await state.database.close()


async def _end(helper: asyncio.Task[None]) -> None:
    """Cancel a helper and wait for its end. Raises what it failed with, if it did."""
    while not helper.done():
        helper.cancel()
        # Again, for redis-py turns a cancellation that meets it in the middle of an exchange into an error of its own.
        await asyncio.wait([helper], timeout=_CANCEL_AGAIN_SECONDS)
    with contextlib.suppress(asyncio.CancelledError):
        await helper


async def _write_presence(database: Database, presence: Presence) -> None:
    """Write down, every second, which agencies looked into their inbox."""
    while True:
        await asyncio.sleep(1)
        agencies = presence.due()
        if not agencies:
            continue
        try:
            async with database.transaction(AS_GATEWAY) as connection:
                await presence.write(connection, agencies)
        except Exception as error:
            if not is_away(error):
                raise
            log.info("the database is away; presence is written later")


async def _watch_backlog(database: Database, gauge: BacklogGauge, known: DatabaseClock) -> None:
    """Look every second how many accepted referrals wait for the workers, and what time the database has."""
    while True:
        try:
            async with database.transaction(AS_GATEWAY) as connection:
                await gauge.sample(connection)
                await known.look(connection)
        except Exception as error:
            if not is_away(error):
                raise
            log.info("the database is away; the backlog is looked at later")
        await asyncio.sleep(SAMPLE_SECONDS)


def _broker(configuration: Settings) -> Redis | None:
    """The broker, for asking whether it is there; None in a system that has none."""
    if not configuration.has_broker:
        return None
    return Redis.from_url(configuration.broker(), socket_timeout=1, socket_connect_timeout=1)


def _database_probe(database: Database) -> Probe:
    async def ask() -> None:
        async with database.transaction(AS_GATEWAY) as connection:
            await connection.execute(text("SELECT 1"))

    return ask


def _keys_probe(database: Database) -> Probe:
    async def ask() -> None:
        try:
            async with database.transaction(AS_GATEWAY) as connection:
                await check(connection)
        except Exception as error:
            if not is_away(error):
                raise  # the database's being away is its own check's to tell

    return ask


def _broker_probe(broker: Redis) -> Probe:
    async def ask() -> None:
        await broker.ping()

    return ask
