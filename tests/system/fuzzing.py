"""schemathesis on the started service. `make fuzz ARGS="--max-time 60 --seed 7"`: its own options, all of them."""

import subprocess
import sys
import tempfile
from pathlib import Path

from tests.kit.service import Service

CONFIG = Path(__file__).with_name("schemathesis.toml")

# Of a long run, unless other options are given: five minutes.
LONG = ("--max-time", "300")

ADMIN, PASSWORD = "admin@example.com", "password123"


def fuzz(service: Service, *options: str, timeout: float | None = None, **streams: int) -> subprocess.CompletedProcess:
    """Run schemathesis as a user who may do everything; `timeout` is the longest time it may take, in seconds."""
    roles = [word for role in ("admin", "export", "ingest", "read") for word in ("--role", role)]
    service.user("create", ADMIN, *roles, password=PASSWORD)
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        "--config-file",
        str(CONFIG),
        "run",
        f"{service.base_url}/api/openapi.json",
        "--header",
        f"Authorization: Bearer {service.token(ADMIN, PASSWORD)}",
        "--no-color",
        *options,
    ]
    # It leaves files where it runs.
    return subprocess.run(command, cwd=service.directory, timeout=timeout, check=False, **streams)


def main() -> int:
    """Start a service of its own and fuzz it; return the exit status."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as directory, Service(Path(directory)) as service:
        status = fuzz(service, *(sys.argv[1:] or LONG)).returncode
        if status:
            print(f"The service's own errors:\n{log_of_defects(service)}")
        return status


def log_of_defects(service: Service) -> str:
    """Return the log lines of answers with 500."""
    lines = (service.data / "logs" / "api.log").read_text().splitlines()
    return "\n".join(line for line in lines if '"defect"' in line) or "none"


if __name__ == "__main__":
    sys.exit(main())
