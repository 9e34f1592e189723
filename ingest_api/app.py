"""The application: makes the parts of one API process and joins them."""

from typing import Any

import falcon.asgi
from falcon.asgi import Request, Response

from ingest_api import keys, metrics
from ingest_api.accepting import Accepting
from ingest_api.asgi import AsgiCallable, begin_at_once
from ingest_api.cursor import Cursors
from ingest_api.envelope import JSON, answer_defect, serialize_error
from ingest_api.group_commit import GroupCommit
from ingest_api.ledgers import Ledgers
from ingest_api.middleware import Around
from ingest_api.queue_reader import QueueReader
from ingest_api.rate_limit import RateLimit
from ingest_api.read_path import ReadPath
from ingest_api.resources.bulk import Bulk
from ingest_api.resources.dead_letters import Letters, Replay
from ingest_api.resources.docs import Assets, OpenApi, Page
from ingest_api.resources.health import Live, Metrics, Ready
from ingest_api.resources.lead import Lead
from ingest_api.resources.leads import Leads
from ingest_api.resources.login import Login
from ingest_api.resources.stats import Stats
from ingest_api.ticket_publisher import TicketPublisher
from ingest_api.tokens import Tokens
from schema import database
from schema.connections import async_redis, blocking_redis
from schema.dead_letters import DeadLetters
from schema.settings import Settings

AsgiApp = falcon.asgi.App[Request, Response]

# Connections for looking into the queue, beside the one that flushes.
QUEUE_READERS = 8

# Connections to the primary database, for look-ups that a replica cannot answer.
PRIMARY_READERS = 2

# Seconds that a stopping process gives the broker to take the tickets that are owed.
LAST_TICKETS = 1.0


class _Lifespan:
    """Starts and stops what lives as long as the process, within its event loop."""

    def __init__(
        self, commit: GroupCommit, publisher: TicketPublisher, read_paths: tuple[ReadPath, ...], queue: QueueReader
    ) -> None:
        self._commit = commit
        self._publisher = publisher
        self._read_paths = read_paths
        self._queue = queue

    async def process_startup(self, scope: Any, event: Any) -> None:
        """Start sending tickets."""
        self._publisher.start()
        metrics.PROCESSES.set(1)

    async def process_shutdown(self, scope: Any, event: Any) -> None:
        """Finish what was begun: by now every open request is answered."""
        await self._commit.close()
        self._publisher.stop(LAST_TICKETS)
        for read_path in self._read_paths:
            read_path.close()
        await self._queue.close()


def create(settings: Settings) -> AsgiCallable:
    """Make the application of one API process. Call it after the fork. Connects at first use, never here.

    Raises SettingsError when the token keys are not there.
    """
    private, _ = keys.load(settings)
    tokens = Tokens(private, keys.accepted(settings), settings.token_ttl)
    publisher = TicketPublisher(settings)
    commit = GroupCommit(
        async_redis(settings, timeout=settings.redis_timeout, connections=1), settings, publisher.appended
    )
    queue = QueueReader(async_redis(settings, timeout=settings.redis_timeout, connections=QUEUE_READERS))
    read_path = _read_path(settings, "read", settings.replica_url, settings.database_pool_size)
    # What a replica may not have yet: idempotency keys.
    primary = _read_path(settings, "primary", settings.primary_url, PRIMARY_READERS)
    blocking = blocking_redis(settings, timeout=settings.redis_timeout)
    ledgers = Ledgers(primary, blocking)
    letters = DeadLetters(blocking)
    limit = RateLimit(settings, commit)
    accepting = Accepting(commit, limit, primary)
    body_timeout = settings.http_body_timeout

    app = AsgiApp(media_type=JSON)
    app.add_middleware(Around(settings, limit))
    app.add_middleware(_Lifespan(commit, publisher, (read_path, primary), queue))
    app.set_error_serializer(serialize_error)
    app.add_error_handler(Exception, answer_defect)
    app.add_route("/api/login_check", Login(read_path, tokens, body_timeout))
    app.add_route("/api/leads", Leads(tokens, accepting, read_path, Cursors(private), body_timeout))
    app.add_route("/api/leads/bulk", Bulk(tokens, accepting, body_timeout))
    app.add_route("/api/leads/stats", Stats(tokens, read_path, queue))
    app.add_route("/api/leads/{lead}", Lead(tokens, read_path, primary, queue))
    app.add_route("/api/dead-letters", Letters(tokens, letters))
    app.add_route("/api/dead-letters/replay", Replay(tokens, letters, body_timeout))
    app.add_route("/api/openapi.json", OpenApi(settings))
    app.add_route("/api/docs", Page())
    app.add_route("/api/docs/{name}", Assets())
    app.add_route("/health/live", Live())
    app.add_route("/health/ready", Ready(read_path, queue, ledgers))
    app.add_route("/metrics", Metrics(ledgers))
    return begin_at_once(app)


def _read_path(settings: Settings, name: str, url: str, size: int) -> ReadPath:
    engine = database.reader(url, timeout=settings.database_timeout, pool_size=size)
    metrics.watch_pool(engine, name, size)
    return ReadPath(engine, size)
