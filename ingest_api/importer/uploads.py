"""The importer's HTTP client: logs in or has an API key, sends batches, and retries until each is answered."""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
import urllib3
from urllib3.exceptions import HTTPError

from ingest_api.http.body import NDJSON
from ingest_api.http.envelope import JSON
from schema.database.idempotency import IDEMPOTENCY_KEY
from schema.lead.source import user_of

# Seconds.
TIMEOUT = urllib3.Timeout(connect=5, read=60)

# Backoff, seconds: doubles from PAUSE to PAUSE_MAX; a longer Retry-After wins.
PAUSE = 0.5
PAUSE_MAX = 30.0

# Statuses that are retried. Safe for leads, because of the Idempotency-Key.
RETRY = {408, 429, 500, 502, 503, 504}

# Why rows that were sent before get another answer.
CHANGED = "The file has changed since these rows were sent first: --again sends all of it."
CHANGED_OF_SOURCE = (
    "The file, or the schema of the source, has changed since these rows were sent first. With the old schema the "
    "import goes on; --again sends all of the file, and what was accepted is stored again."
)

# How a 429 is shown.
LIMITED = "HTTP 429"

Results = list[dict[str, Any]]


class UploadFailed(Exception):
    """The API refuses or does not answer; the message says why."""


class Stopped(Exception):
    """The import was told to stop."""


@dataclass(frozen=True, slots=True)
class Login:
    """The user who uploads."""

    email: str
    password: str = field(repr=False)

    @property
    def sender(self) -> str:
        """Return who uploads, as the API's idempotency keys tell them apart."""
        return self.email


@dataclass(frozen=True, slots=True)
class ApiKey:
    """The source that uploads."""

    source: str
    key: str = field(repr=False)

    @property
    def sender(self) -> str:
        """Return who uploads, as the API's idempotency keys do: another key of the source is the same one."""
        return user_of(self.source)


Credentials = Login | ApiKey


class Uploads:
    """Sends batches, one at a time. Methods block until the answer is final, or raise UploadFailed or Stopped."""

    def __init__(
        self,
        url: str,
        credentials: Credentials,
        *,
        retry_for: float,
        stop: threading.Event,
        tell: Callable[[str], None],
    ) -> None:
        """Give up after `retry_for` seconds of retries. `tell` is called with the reason of a wait, then with ""."""
        self._url = url.rstrip("/")
        self._credentials = credentials
        self._retry_for = retry_for
        self._stop = stop
        self._tell = tell
        self._pool = urllib3.PoolManager(timeout=TIMEOUT, retries=False)
        self._token = credentials.key if isinstance(credentials, ApiKey) else ""
        # Whether leads were sent whose result is unknown.
        self.unsure = False

    def log_in(self) -> None:
        """Get a token; with an API key do nothing.

        Raises UploadFailed or Stopped.
        """
        user = self._credentials
        if isinstance(user, ApiKey):
            return
        body = orjson.dumps({"email": user.email, "password": user.password})
        status, answer = self._until_answered("/api/login_check", body, {"Content-Type": JSON})
        if status != 200 or "token" not in answer:
            raise UploadFailed(f"Log-in as {user.email} failed: {answer.get('message', status)}.")
        self._token = answer["token"]

    def send(self, leads: list[bytes], key: str) -> Results:
        """Send leads; return a result with `id` or `errors` for each.

        On return the accepted leads are durable. Repeated calls with the same key and leads store
        each once. Raises UploadFailed or Stopped.
        """
        body = b"\n".join(leads)
        status, answer = self._post(body, key)
        if status == 401:
            # The token has expired.
            self.log_in()
            status, answer = self._post(body, key)
        if status == 202:
            return list(answer["data"]["results"])
        errors = answer.get("errors", {})
        # No lead was valid, or the source has duplicates refused and all were some.
        if status in (400, 409) and errors and all(name.split(".")[0].isdigit() for name in errors):
            return _by_lead(errors, len(leads))
        if status == 409:
            raise UploadFailed(CHANGED_OF_SOURCE if isinstance(self._credentials, ApiKey) else CHANGED)
        raise UploadFailed(f"The API answered {status}: {answer.get('message', '')} {errors or ''}".rstrip())

    def _post(self, body: bytes, key: str) -> tuple[int, dict[str, Any]]:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": NDJSON, IDEMPOTENCY_KEY: key}
        return self._until_answered("/api/leads/bulk", body, headers)

    def _until_answered(self, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """Send and retry until the answer is final; return its status and its JSON object, {} for anything else."""
        deadline = time.monotonic() + self._retry_for
        pause = PAUSE
        while True:
            wait = pause * random.uniform(0.5, 1)
            try:
                answer = self._pool.request("POST", self._url + path, body=body, headers=headers)
            except HTTPError as error:
                self.unsure = self.unsure or IDEMPOTENCY_KEY in headers
                what, refusal = _name(error), ""
            else:
                if answer.status not in RETRY:
                    self._tell("")
                    return answer.status, _json(answer.data)
                # A 429 says that nothing was accepted; a 503 may come after the append.
                self.unsure = self.unsure or (IDEMPOTENCY_KEY in headers and answer.status != 429)
                what, refusal = f"HTTP {answer.status}", _json(answer.data).get("message", "")
                wait = max(wait, _seconds(answer.headers.get("Retry-After")))
            if time.monotonic() + wait > deadline:
                if what == LIMITED and refusal:
                    raise UploadFailed(f"The API answered 429: {refusal}. {self._advice()}")
                raise UploadFailed(f"No answer for {self._retry_for:g} seconds (the last: {what}).")
            self._tell(f"{what}, again in {wait:.0f} s")
            if self._stop.wait(wait):
                raise Stopped
            pause = min(pause * 2, PAUSE_MAX)

    def _advice(self) -> str:
        how = "Later, or with a smaller --batch," if isinstance(self._credentials, ApiKey) else "Later"
        return f"{how} the same command goes on from here."


def _by_lead(errors: dict[str, list[str]], number: int) -> Results:
    """Group the errors of an answer in which no lead is accepted, named like `0.email`, by lead."""
    results: Results = [{"index": index, "errors": {}} for index in range(number)]
    for name, messages in errors.items():
        index, _, field = name.partition(".")
        results[int(index)]["errors"][field] = messages
    return results


def _json(data: bytes) -> dict[str, Any]:
    try:
        answer = orjson.loads(data)
    except orjson.JSONDecodeError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _seconds(text: str | None) -> float:
    return float(text) if text and text.isdigit() else 0.0


def _name(error: HTTPError) -> str:
    return {"NewConnectionError": "nobody listens"}.get(type(error).__name__, type(error).__name__)
