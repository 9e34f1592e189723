"""newman on the Postman collection: `make postman-test`, against a service of its own or HOST=http://127.0.0.1:8080."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.kit.servers import until
from tests.kit.service import PASSWORD, ROOT, Service

FOLDER = ROOT / "postman"
COLLECTION = FOLDER / "Lead Management API.postman_collection.json"
ENVIRONMENT = FOLDER / "Lead Management API.postman_environment.json"
NEWMAN = FOLDER / "node_modules" / ".bin" / "newman"

ADMIN = "postman@example.com"
SOURCE = "postman"


def command(host: str, *options: str, **variables: str) -> list[str]:
    """Return the command that runs the collection against `host`, with variables of its environment."""
    words = [str(NEWMAN), "run", str(COLLECTION), "--environment", str(ENVIRONMENT), "--color", "off"]
    for name, value in {"baseUrl": host, **variables}.items():
        words += ["--env-var", f"{name}={value}"]
    return [*words, *options]


def admin(service: Service) -> dict[str, str]:
    """Make a user with the role admin, and return the variables that the collection wants of one."""
    service.user("create", ADMIN, "--role", "admin", password=PASSWORD)
    return {"adminEmail": ADMIN, "adminPassword": PASSWORD}


def source(service: Service) -> dict[str, str]:
    """Make a source that may send, read and export; return the variable that the collection wants of one."""
    roles = [word for role in ("ingest", "read", "export") for word in ("--role", role)]
    done = service.run("ingest_api", "source", "create", SOURCE, *roles)
    assert done.returncode == 0, done.stderr
    key = done.stdout.strip()
    # Every process knows it within seconds.
    until(lambda: service.statuses("GET", "/api/leads", key) == {200}, 15, 0.1)
    return {"apiKey": key}


def main() -> int:
    """Run the collection; return newman's exit status."""
    host = os.environ.get("HOST", "").rstrip("/")
    if host:
        return subprocess.run(command(host, *sys.argv[1:]), check=False).returncode
    with tempfile.TemporaryDirectory(prefix="postman-") as directory, Service(Path(directory)) as service:
        variables = {**admin(service), **source(service)}
        return subprocess.run(command(service.base_url, *sys.argv[1:], **variables), check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
