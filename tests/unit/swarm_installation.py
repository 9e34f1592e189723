"""A copy of compose/ in which compose/production/swarm runs, with a Docker of its own."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]

# A Docker in which every node, secret and service is there and well; Compose is the real one.
DOCKER = r"""#!/bin/sh
case "$*" in
compose*) [ -n "${REAL_DOCKER:-}" ] && exec "$REAL_DOCKER" "$@"; echo "${COMPOSED:-}"; echo "$*" >>"$ASKED"; exit ;;
"stack deploy"* | build*) cat >/dev/null ;;
run*) cat >>"$ASKED" ;;
"image inspect"*) echo sha256:0123456789abcdef ;;
"volume inspect"*) exit 1 ;;
"service inspect"*TaskTemplate*) echo described ;;
"service inspect"*UpdateStatus*)
    [ "$(grep -c UpdateStatus "$ASKED")" -ge "${UPDATING:-0}" ] || UPDATE=updating
    echo "${UPDATE:-completed}"
    ;;
"service inspect"*Replicas*) echo "${WORKER_REPLICAS:-2}" ;;
"service inspect"*_api) [ -n "${DEPLOYED:-}" ] || exit 1 ;;
"service ps"*CurrentState*) echo "Complete 1 second ago" ;;
"service ps"*_worker | "service ps"*_beat) [ -n "${STOPPED:-}" ] || echo task ;;
"service ps"*) echo task ;;
"inspect --type task"*Args*) echo running described ;;
"service ls"*) echo "$*" | sed -n 's/.*--filter name=\([^ ]*\) .*/\1 1\/1/p' ;;
"node ls"*) echo ${LABELLED-node1} ;;
esac
echo "$*" >>"$ASKED"
"""


class Installation:
    """A copy of compose/, with a Docker that notes what it is asked."""

    def __init__(self, directory: Path, *, real_compose: bool = False) -> None:
        ignored = shutil.ignore_patterns("*.env", "backups", "tls", "keys", "stack.yml")
        shutil.copytree(ROOT / "compose", directory / "compose", ignore=ignored)
        docker = directory / "bin" / "docker"
        docker.parent.mkdir()
        docker.write_text(DOCKER)
        docker.chmod(0o755)
        self.directory = directory
        (directory / "asked").touch()
        self.file = directory / "compose" / "production.env"
        names = [f"MYSQL_{each}_PASSWORD" for each in ("ROOT", "API", "WORKER", "MIGRATE")]
        names += [f"REDIS_{each}_PASSWORD" for each in ("API", "WORKER", "FLOWER", "MIGRATE")]
        names += ["REDIS_PASSWORD", "LEADS_FIRST_PASSWORD", "LEADS_FLOWER_PASSWORD", "GRAFANA_PASSWORD"]
        self.secrets = {name: f"{number:02}-of-those-secrets" for number, name in enumerate(names)}
        self.set(**self.secrets, LEADS_FIRST_USER="ann@example.com", LEADS_FLOWER_USER="ann")
        self.set(LEADS_IMAGE="lead-ingest:0123456789ab", LEADS_PROJECT="leads")
        self._environment = {
            **os.environ,
            "PATH": f"{docker.parent}:{os.environ['PATH']}",
            "ASKED": str(directory / "asked"),
            "REAL_DOCKER": (shutil.which("docker") or "") if real_compose else "",
        }

    def set(self, **settings: str) -> None:
        """Add settings to production.env."""
        with self.file.open("a") as file:
            file.writelines(f"{name}={value}\n" for name, value in settings.items())

    def run(self, *command: str, ok: bool = True, **environment: str) -> str:
        """Run a command; return what it wrote."""
        done = subprocess.run(
            ["compose/production/swarm", *command],
            cwd=self.directory,
            env={**self._environment, **environment},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=20,
            check=False,
        )
        assert (done.returncode == 0) == ok, done.stdout + done.stderr
        return done.stdout if ok else done.stdout + done.stderr

    def stack(self) -> dict[str, Any]:
        """Return the stack file."""
        found: dict[str, Any] = yaml.safe_load(self.run("config"))
        return found

    def asked(self) -> list[str]:
        """Return what Docker was asked."""
        return (self.directory / "asked").read_text().splitlines()

    def deployed(self) -> list[str]:
        """Return the services of each step of a deployment."""
        return [line.partition(" config ")[2] for line in self.asked() if line.startswith("compose")]
