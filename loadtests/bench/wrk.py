"""Runs wrk with `load.lua` and parses its output."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tests.kit.servers import program

SCRIPT = Path(__file__).parent / "load.lua"

# The lead's JSON before and after the e-mail address; a note fills it up to LEAD_BYTES.
LEAD_BYTES = 200
_BEFORE = '{"firstName":"Ada","lastName":"Lovelace","email":"'
_AFTER = (
    '@example.com","phone":"+442071234567","dateOfBirth":"1990-12-10","additionalData":{"campaign":"spring-2026"%s}}'
)

# Characters of a tag, which marks the leads of a run.
TAG = 8
_NUMBER = 10  # "-" and the nine digits that load.lua writes


class BadAnswers(Exception):
    """An answer or the number of stored leads was wrong, so the figures are worthless."""


@dataclass(frozen=True)
class Load:
    """The result of one run of wrk. Latencies are in milliseconds."""

    answers: int
    seconds: float
    refused: int
    broken: int
    p50: float
    p95: float
    p99: float

    @property
    def rate(self) -> float:
        """Answers per second."""
        return self.answers / self.seconds


def lead_around() -> tuple[str, str]:
    """Return the lead's JSON before and after the part of the address that changes."""
    missing = LEAD_BYTES - len(_BEFORE) - len(_AFTER % "") - TAG - _NUMBER
    note = "x" * (missing - len(',"note":""'))
    return _BEFORE, _AFTER % f',"note":"{note}"'


def lead(tag: str, number: int) -> str:
    """Return the JSON of one lead as load.lua sends it."""
    before, after = lead_around()
    return f"{before}{tag}-{number:09d}{after}"


def run(
    url: str,
    token: str,
    tag: str,
    *,
    connections: int,
    seconds: float,
    rate: float = 0,
    bulk: int = 0,
    ndjson: bool = False,
    status: int = 0,
    keys: bool = False,
    phone: str = "",
) -> Load:
    """Load `url` for `seconds`, at `rate` requests per second; with 0 as fast as it answers.

    With `keys` each request has an Idempotency-Key, and with `phone`, the first four characters of a number, each lead
    a telephone number of its own. Raises BadAnswers when any answer was not 2xx, or with `status` not
    that one, or any connection broke.
    """
    assert len(tag) == TAG
    before, after = lead_around()
    environment = {
        **os.environ,
        "BENCH_TAG": tag,
        "BENCH_TOKEN": token,
        "BENCH_RATE": str(rate),
        "BENCH_BULK": str(bulk),
        "BENCH_NDJSON": "1" if ndjson else "0",
        "BENCH_STATUS": str(status),
        "BENCH_KEYS": "1" if keys else "0",
        "BENCH_PHONE": phone,
        "BENCH_BEFORE": before,
        "BENCH_AFTER": after,
    }
    parts = urlsplit(url)
    command = [program("wrk"), "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "20s"]
    done = subprocess.run(
        [*command, "-s", str(SCRIPT), f"{parts.scheme}://{parts.netloc}"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return parse(done.stdout, done.stderr)


def parse(output: str, errors: str = "") -> Load:
    """Parse the output of load.lua.

    Raises BadAnswers when there is none, or when it reports errors.
    """
    line = next((line for line in output.splitlines() if line.startswith("{")), None)
    if line is None:
        raise BadAnswers(f"wrk says nothing of worth: {(output + errors).strip()[-300:]}")
    load = Load(**json.loads(line))
    if load.refused or load.broken:
        raise BadAnswers(f"of {load.answers} answers {load.refused} were wrong, and {load.broken} connections broke")
    return load
