"""The application: makes the parts of one API process and wires them together."""

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import falcon.asgi
from falcon.asgi import Response
from redis.exceptions import RedisError

from ingest_api import metrics
from ingest_api.audit import AuditTrail
from ingest_api.auth import keys, token_versions
from ingest_api.auth.api_keys import ApiKeys
from ingest_api.auth.callers import Callers
from ingest_api.auth.login_check import LoginCheck
from ingest_api.auth.login_failures import LoginFailures
from ingest_api.auth.periodic_read import PeriodicRead
from ingest_api.auth.token_versions import TokenVersions
from ingest_api.auth.tokens import Tokens
from ingest_api.database.reader_pool import DatabaseReader, ReaderPool
from ingest_api.database.replica import Lag, Replica, ReplicaPools
from ingest_api.http.access_log import AccessLog
from ingest_api.http.client_ip import ClientAddresses
from ingest_api.http.context import Request
from ingest_api.http.envelope import JSON, handle_append_failure, handle_redis_error, handle_unexpected, serialize_error
from ingest_api.http.middleware import RequestMiddleware
from ingest_api.intake.bulk_limit import BulkLimit
from ingest_api.intake.duplicates import DuplicateRules
from ingest_api.intake.group_commit import QueueUnavailable, TraceFlush, untraced
from ingest_api.intake.lead_intake import LeadIntake
from ingest_api.intake.rate_limit import RateLimit
from ingest_api.intake.refused_leads import RefusedLeads
from ingest_api.intake.shard_router import ShardRouter
from ingest_api.intake.tickets import TicketPublisher
from ingest_api.reads.changes_feed import ChangesFeed
from ingest_api.reads.cursor import Cursors
from ingest_api.reads.data_version import DataVersionReader
from ingest_api.reads.database_servers import DatabaseServers
from ingest_api.reads.ledger import LedgerReader
from ingest_api.reads.lists import Lists
from ingest_api.reads.queue_reader import QueueReader
from ingest_api.reads.service_state import StateReader
from ingest_api.reads.status import StatusReader
from ingest_api.request_log.collector import RequestLog
from ingest_api.resources.bulk import Bulk
from ingest_api.resources.changes import Changes
from ingest_api.resources.dead_letters import Letters, Replay
from ingest_api.resources.docs import Assets, OpenApi, Page
from ingest_api.resources.export import EXPORTS_AT_ONCE, Export
from ingest_api.resources.health import Live, Metrics, Ready
from ingest_api.resources.lead import Lead
from ingest_api.resources.leads import Leads
from ingest_api.resources.login import Login
from ingest_api.resources.page import PageFile, PageFiles, Root
from ingest_api.resources.stats import Stats
from ingest_api.resources.status import Status
from ingest_api.server.early_start import AsgiCallable, start_before_body
from schema.database import engines
from schema.queue.dead_letters import DeadLetters
from schema.runtime.redis_clients import (
    AsyncShardClient,
    async_redis,
    async_shards,
    blocking_broker,
    blocking_shards,
)
from schema.settings import Settings

if TYPE_CHECKING:
    from ingest_api.traces import Traces

AsgiApp = falcon.asgi.App[Request, Response]

# Redis connections for reads of each shard, beside the one of its group commit.
QUEUE_READERS = 8

# Primary database connections reserved for short look-ups, so that they never wait behind a list.
LOOKUP_READERS = 2

# Redis connections for the counts of failed log-ins.
LOGIN_CONNECTIONS = 2

# Redis connections for the counts of refused leads and the status that the processes share.
HOME_CONNECTIONS = 4

# Longest time (seconds) that a stopping process spends on writing the last counts of refused leads.
REFUSED_STOP_TIMEOUT = 1.0

# Longest time (seconds) that a request waits for a replica before it asks the primary.
REPLICA_TIMEOUT = 1.0

# Longest time (seconds) that a stopping process spends on writing the last requests of the log.
REQUEST_LOG_STOP_TIMEOUT = 1.0

# Longest time (seconds) that a stopping process spends on writing the last audit events.
AUDIT_STOP_TIMEOUT = 1.0

# Longest time (seconds) that a stopping process spends on publishing the tickets still due.
TICKETS_STOP_TIMEOUT = 1.0


@dataclass(slots=True)
class _Lifespan:
    """Starts and stops the process's background work, in its event loop."""

    router: ShardRouter
    publisher: TicketPublisher
    pools: tuple[ReaderPool, ...]
    replica: Replica | None
    queue: QueueReader
    requests: metrics.Requests
    access_log: AccessLog
    request_log: RequestLog
    audit: AuditTrail
    refused: RefusedLeads
    periodic: tuple[PeriodicRead[Any], ...]
    login_check: LoginCheck
    traces: "Traces | None"
    watches: list[asyncio.Task[None]] = field(default_factory=list)

    async def process_startup(self, scope: Any, event: Any) -> None:
        """Start the ticket publisher, the reads of users and API keys, and the watch on the replica."""
        self.publisher.start()
        self.router.start()
        await asyncio.gather(*(each.start() for each in self.periodic))
        self.watches += [asyncio.create_task(each.repeat()) for each in self.periodic]
        metrics.API_PROCESSES.set(1)
        if self.replica is not None:
            self.watches.append(asyncio.create_task(self.replica.watch()))

    async def process_shutdown(self, scope: Any, event: Any) -> None:
        """Flush the buffers and close the connections. Every open request has been answered by now."""
        await self.router.close()
        self.publisher.stop(TICKETS_STOP_TIMEOUT)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REQUEST_LOG_STOP_TIMEOUT):
                await self.request_log.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REFUSED_STOP_TIMEOUT):
                await self.refused.close()
        for watch in self.watches:
            watch.cancel()
        await self.login_check.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(AUDIT_STOP_TIMEOUT):
                await self.audit.close()
        if self.replica is not None:
            self.replica.close()
        for pool in self.pools:
            pool.close()
        await self.queue.close()
        self.requests.count()
        self.access_log.flush()
        if self.traces is not None:
            self.traces.stop()


def create(settings: Settings, stopping: asyncio.Event) -> AsgiCallable:
    """Make the application of one API process. Call it after the fork. Connects at first use, never here.

    `stopping` is set when the process begins to stop: requests that wait are answered then.

    Raises SettingsError when the token keys are not there.
    """
    private, _ = keys.load(settings)
    versions = TokenVersions()
    tokens = Tokens(private, keys.accepted(settings), settings.token_ttl, settings.token_issuer, versions)
    known_keys = ApiKeys()
    callers = Callers(tokens, known_keys)
    publisher = TicketPublisher(settings)
    request_log = RequestLog(settings, _home_shard(settings, connections=1))
    audit = AuditTrail(settings, _home_shard(settings, connections=1))
    traces = _traces(settings)
    router = _router(settings, publisher, traces.flush if traces else untraced)
    queue = QueueReader(async_shards(settings, connections=QUEUE_READERS, only_reads=True), len(settings.shards))
    main_pool = _pool("stored", settings.primary_url, settings, settings.database_pool_size)
    lookup_pool = _pool("primary", settings.primary_url, settings, LOOKUP_READERS)
    replica = _replica(settings, main_pool, lookup_pool) if settings.database_read_url else None
    reader = replica or main_pool
    # Pools of their own, so that exports take no thread of lists and log-ins.
    export_pools = [_pool("exports", settings.primary_url, settings, EXPORTS_AT_ONCE)]
    export_reader: DatabaseReader = export_pools[0]
    if replica is not None:
        export_pools.append(_replica_pool("replica_exports", settings, EXPORTS_AT_ONCE))
        export_reader = ReplicaPools(replica, export_pools[1], export_pools[0])
    ledger_pool = _pool("ledger", settings.primary_url, settings, 1)
    ledgers = LedgerReader(
        ledger_pool,
        blocking_shards(settings, timeout=settings.redis_timeout, only_reads=True),
        blocking_broker(settings, timeout=settings.redis_timeout),
    )
    database_servers = DatabaseServers(ledger_pool, replica)
    state = StateReader(reader, queue, ledgers, database_servers)
    home = _home_shard(settings, connections=HOME_CONNECTIONS)
    refused = RefusedLeads(home)
    status = StatusReader(settings, home, queue, state, ledgers, refused)
    letters = DeadLetters(blocking_shards(settings, timeout=settings.redis_timeout))
    failures = LoginFailures(_home_shard(settings, connections=LOGIN_CONNECTIONS), private, settings.login_failures)
    hash_writer = engines.writer(settings.primary_url, timeout=settings.database_read_timeout)
    login_check = LoginCheck(lookup_pool, hash_writer, failures)
    addresses = ClientAddresses(settings.trusted_proxies, ())
    limit = RateLimit(settings, router)
    duplicates = DuplicateRules(settings.duplicate_days)
    intake = LeadIntake(router, limit, BulkLimit(settings, router), duplicates, lookup_pool)
    lists = Lists(reader, DataVersionReader(lookup_pool), Cursors(private), settings.list_max_age, audit)
    requests = metrics.Requests()
    access_log = AccessLog(settings.access_log)
    body_timeout = settings.http_body_timeout

    app = AsgiApp(media_type=JSON, request_type=Request)
    if traces is not None:
        app.add_middleware(traces)
    app.add_middleware(RequestMiddleware(limit, requests, access_log, request_log, refused))
    periodic = (
        PeriodicRead(lookup_pool, token_versions.read, versions.replace),
        PeriodicRead(lookup_pool, known_keys.read, known_keys.replace),
    )
    pools = (main_pool, lookup_pool, ledger_pool, *export_pools)
    app.add_middleware(
        _Lifespan(
            router,
            publisher,
            pools,
            replica,
            queue,
            requests,
            access_log,
            request_log,
            audit,
            refused,
            periodic,
            login_check,
            traces,
        )
    )
    app.set_error_serializer(serialize_error)
    app.add_error_handler(Exception, handle_unexpected)
    app.add_error_handler(RedisError, handle_redis_error)
    app.add_error_handler(QueueUnavailable, handle_append_failure)
    app.add_route("/api/login_check", Login(login_check, tokens, addresses, body_timeout, audit))
    app.add_route("/api/leads", Leads(callers, intake, lists, body_timeout))
    app.add_route("/api/leads/export", Export(callers, export_reader, audit))
    app.add_route("/api/leads/changes", Changes(callers, ChangesFeed(reader, stopping), audit))
    app.add_route("/api/leads/bulk", Bulk(callers, intake, duplicates, body_timeout))
    app.add_route("/api/leads/stats", Stats(callers, reader, queue, refused))
    app.add_route("/api/leads/{lead}", Lead(callers, reader, lookup_pool, queue, audit))
    app.add_route("/api/dead-letters", Letters(tokens, letters, audit))
    app.add_route("/api/dead-letters/replay", Replay(tokens, letters, body_timeout, audit))
    app.add_route("/api/status", Status(tokens, status))
    app.add_route("/api/openapi.json", OpenApi(settings))
    app.add_route("/api/docs", Page())
    app.add_route("/api/docs/{name}", Assets())
    page = PageFiles() if settings.page else None
    app.add_route("/", Root(page))
    if page is not None:
        app.add_route("/page/{name}", PageFile(page))
    app.add_route("/health/live", Live())
    app.add_route("/health/ready", Ready(state))
    app.add_route("/metrics", Metrics(ledgers, database_servers, requests))
    return start_before_body(app)


def _home_shard(settings: Settings, *, connections: int) -> AsyncShardClient:
    """Make a client of the shard that has what belongs to no lead."""
    shard = settings.home_shard
    return AsyncShardClient(shard, async_redis(shard, settings, connections=connections))


def _traces(settings: Settings) -> "Traces | None":
    if not settings.traces_url:
        return None
    # Late import: OpenTelemetry takes 9 MB of each process.
    from ingest_api.traces import Traces

    return Traces(settings)


def _router(settings: Settings, publisher: TicketPublisher, trace_flush: TraceFlush) -> ShardRouter:
    clients = async_shards(settings, connections=1)
    now, following = clients[: len(settings.shards)], clients[len(settings.shards) :]
    on_flush = publisher.on_flush
    next_queue = (
        ShardRouter(following, settings, on_flush, reports=False, trace_flush=trace_flush) if following else None
    )
    return ShardRouter(now, settings, on_flush, next_queue=next_queue, trace_flush=trace_flush)


def _pool(name: str, url: str, settings: Settings, threads: int, timeout: float | None = None) -> ReaderPool:
    timeout = timeout or settings.database_read_timeout
    engine = engines.reader(url, timeout=timeout, pool_size=threads)
    metrics.watch_pool(engine, name, threads)
    return ReaderPool(engine, threads, timeout=timeout)


def _replica(settings: Settings, main_pool: ReaderPool, lookup_pool: ReaderPool) -> Replica:
    pool = _replica_pool("replica", settings, settings.database_pool_size)
    return Replica(pool, main_pool, lookup_pool, Lag(settings.database_read_lag))


def _replica_pool(name: str, settings: Settings, threads: int) -> ReaderPool:
    timeout = min(REPLICA_TIMEOUT, settings.database_read_timeout)
    return _pool(name, settings.replica_url, settings, threads, timeout)
