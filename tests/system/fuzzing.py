"""schemathesis on the started service. `make fuzz ARGS="--max-time 60 --seed 7"`: its own options, all of them."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.kit.servers import until
from tests.kit.service import Service

CONFIG = Path(__file__).with_name("schemathesis.toml")

# Of a long run, unless other options are given: five minutes.
LONG = ("--max-time", "300")

ADMIN, PASSWORD = "admin@example.com", "password123"


SOURCE = "fuzz"

# For additionalData of the source: takes some objects.
SCHEMA = {"maxProperties": 3, "properties": {"campaign": {"maxLength": 5}}, "additionalProperties": {"type": "string"}}


def token_of_admin(service: Service) -> str:
    """Make a user who may do everything; return a token."""
    service.user("create", ADMIN, *_roles("admin", "export", "ingest", "read"), password=PASSWORD)
    return service.token(ADMIN, PASSWORD)


def key_of_source(service: Service) -> str:
    """Make a source who may do all that one may, but few leads, which fit SCHEMA; return its API key.

    All processes know it.
    """
    options = (*_roles("export", "ingest", "read"), "--rate", "4", "--daily-cap", "5", "--additional-data-schema", "-")
    done = service.run("ingest_api", "source", "create", SOURCE, *options, given=json.dumps(SCHEMA))
    assert done.returncode == 0, done.stderr
    key = done.stdout.strip()
    until(lambda: service.statuses("GET", "/api/leads", key) == {200}, 15, 0.1)
    return key


def _roles(*names: str) -> list[str]:
    return [word for name in names for word in ("--role", name)]


def fuzz(
    service: Service, token: str, *options: str, timeout: float | None = None, **streams: int
) -> subprocess.CompletedProcess:
    """Run schemathesis with a token or an API key; `timeout` is the longest time it may take, in seconds."""
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        "--config-file",
        str(CONFIG),
        "run",
        f"{service.base_url}/api/openapi.json",
        "--header",
        f"Authorization: Bearer {token}",
        "--no-color",
        *options,
    ]
    # It leaves files where it runs.
    return subprocess.run(command, cwd=service.directory, timeout=timeout, check=False, **streams)


def main() -> int:
    """Start a service of its own and fuzz it; return the exit status."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as directory, Service(Path(directory)) as service:
        status = fuzz(service, token_of_admin(service), *(sys.argv[1:] or LONG)).returncode
        if status:
            print(f"The service's own errors:\n{log_of_defects(service)}")
        return status


def log_of_defects(service: Service) -> str:
    """Return the log lines of answers with 500."""
    lines = (service.data / "logs" / "api.log").read_text().splitlines()
    return "\n".join(line for line in lines if '"defect"' in line) or "none"


if __name__ == "__main__":
    sys.exit(main())
