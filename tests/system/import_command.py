"""The command `import` as tests run it, by a user or by a source, and files of leads for it."""

import csv
import os
import subprocess
import sys
from pathlib import Path

from tests.kit.leads import a_lead
from tests.kit.service import EMAIL, PASSWORD, ROOT, Service

HEADER = ["firstName", "lastName", "email", "phone", "dateOfBirth", "source"]


def command(service: Service, file: Path, *options: str, url: str = "") -> list[str]:
    python = [sys.executable, "-m", "ingest_api", "import", str(file)]
    return [*python, "--url", url or service.base_url, "--email", EMAIL, *options]


def environment() -> dict[str, str]:
    return {**os.environ, "LEADS_PASSWORD": PASSWORD}


def run(service: Service, file: Path, *options: str, url: str = "") -> subprocess.CompletedProcess[str]:
    """Import a file to the end."""
    return subprocess.run(
        command(service, file, *options, url=url),
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def written(path: Path, rows: int, phone: str) -> tuple[set[str], set[int]]:
    """Write a CSV in which every hundredth row is bad; return the good rows' addresses and the bad ones' lines."""
    good, bad = set(), set()
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        for number in range(rows):
            email = a_lead()["email"]
            broken = number % 100 == 50
            writer.writerow(["Ada", "Lovelace", "nobody" if broken else email, phone, "1990-12-10", f"s{number}"])
            if broken:
                bad.add(number + 2)
            else:
                good.add(email)
    return good, bad


def send_as(
    service: Service, name: str, key: str | None, file: Path, *options: str, given: str = ""
) -> subprocess.CompletedProcess[str]:
    """Import a file as a source, with its key in the environment, or `given` on standard input."""
    python = [sys.executable, "-m", "ingest_api", "import", str(file), "--url", service.base_url, "--source", name]
    return subprocess.run(
        [*python, *options],
        cwd=ROOT,
        env={**os.environ, **({} if key is None else {"LEADS_API_KEY": key})},
        input=given,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
