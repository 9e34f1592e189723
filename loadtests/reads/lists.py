"""The kinds of lists measured, the systems that answer them, and the same lists by plain SQL."""

import json
import subprocess
import sys
from dataclasses import dataclass
from statistics import quantiles
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx
from sqlalchemy import Engine, text

from schema.lead import lead_id
from tests.kit.service import ROOT


@dataclass(frozen=True)
class Kind:
    """A list: its name, its parameters, and the plain SQL that selects its ids."""

    name: str
    parameters: dict[str, Any]
    sql: str
    usual: bool = True  # whether the usual endpoint has it


def kinds(rows: int) -> list[Kind]:
    """Return the lists to measure on a table of `rows` rows."""
    middle, last = rows // 20, rows // 10
    found = [
        Kind(
            f"createdAt, {name}",
            {"page": page},
            f"SELECT id FROM leads ORDER BY id DESC LIMIT 10 OFFSET {10 * page - 10}",
        )
        for name, page in (("page 1", 1), ("page 1,000", 1000), ("middle page", middle), ("last page", last))
    ]
    ascending = f"SELECT id FROM leads ORDER BY id LIMIT 10 OFFSET {10 * middle - 10}"
    found.append(Kind("createdAt ASC, middle page", {"page": middle, "sortOrder": "ASC"}, ascending))
    for page in (1, 1000):
        sql = f"SELECT id FROM leads ORDER BY last_name, id LIMIT 10 OFFSET {10 * page - 10}"
        parameters = {"page": page, "sortBy": "lastName", "sortOrder": "ASC"}
        found.append(Kind(f"lastName, page {page:,}", parameters, sql))
    address = f"lead{rows // 3}@example.com"
    found.append(Kind("email=…", {"email": address}, f"SELECT id FROM leads WHERE email = '{address}'"))
    return found


class System:
    """An HTTP service with lists."""

    def __init__(self, name: str, url: str, headers: dict[str, str]) -> None:
        self.name = name
        self.url = url
        self.headers = headers
        self._at = urlsplit(url)
        self._client = httpx.Client(base_url=url, headers=headers, timeout=120)

    @property
    def host(self) -> str:
        """The host's name."""
        return str(self._at.hostname)

    @property
    def port(self) -> int:
        """The port; 80 by default."""
        return int(self._at.port or 80)

    @property
    def token(self) -> str:
        """The token of its requests."""
        return self.headers["Authorization"].removeprefix("Bearer ")

    def get(self, parameters: dict[str, Any], **headers: str) -> httpx.Response:
        """Request a list once, without measuring."""
        return self._client.get("/api/leads", params=parameters, headers=headers)

    def measure(
        self, parameters: dict[str, Any], number: int, seconds: float, status: int = 200, **headers: str
    ) -> "Measured":
        """Request one list on `number` connections for `seconds`, in a process of its own."""
        lines = [f"GET /api/leads?{urlencode(parameters)} HTTP/1.1", f"Host: {self._at.netloc}"]
        lines += [f"{name}: {value}" for name, value in {**self.headers, **headers}.items()]
        done = subprocess.run(
            [
                *(sys.executable, "-m", "loadtests.reads.connections", self.host, str(self.port)),
                *("--status", str(status), "--number", str(number), "--seconds", str(seconds)),
            ],
            input=("\r\n".join(lines) + "\r\n\r\n").encode(),
            cwd=ROOT,
            capture_output=True,
            check=True,
        )
        answer = json.loads(done.stdout)
        return Measured(answer["took"], answer["wrong"], seconds)


@dataclass(frozen=True)
class Measured:
    """The answers of one measurement."""

    took: list[float]  # seconds
    wrong: int
    seconds: float

    @property
    def rate(self) -> float:
        """Answers per second."""
        return len(self.took) / self.seconds

    def percentiles(self) -> tuple[float, float, float]:
        """Return p50, p95 and p99 in milliseconds."""
        if len(self.took) < 2:
            alone = 1000 * self.took[0] if self.took else float("inf")
            return alone, alone, alone
        cuts = quantiles(self.took, n=100, method="inclusive")
        return 1000 * cuts[49], 1000 * cuts[94], 1000 * cuts[98]


def ids_by_sql(engine: Engine, kind: Kind) -> list[str]:
    """Return the ids that the plain SQL selects."""
    with engine.connect() as connection:
        return [lead_id.to_text(bytes(each)) for each in connection.execute(text(kind.sql)).scalars()]


def rows_examined(engine: Engine) -> int:
    """Return the server's counter of rows and index entries that its storage engines have read."""
    with engine.connect() as connection:
        found = connection.execute(text("SHOW GLOBAL STATUS LIKE 'Handler_read%'")).all()
        return sum(int(value) for name, value in found if not name.endswith("deleted"))
