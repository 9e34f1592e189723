"""README.md: every command in it is run, or for the long ones of `make`, at least known to it."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit.databases import MySQLServer
from tests.kit.servers import RedisServer, until
from tests.kit.service import PASSWORD, ROOT, Service

from .pages import blocks, commands

PAGE = "README.md"


def test_the_bash_examples(embedded: Service, tmp_path: Path):
    script = "\n".join(blocks(PAGE, "bash", embedded))

    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    answers = re.findall(r'{"status":"(\w+)","code":(\d+)', done.stdout)
    assert len(answers) >= 5
    assert {status for status, _ in answers} == {"success"}, done.stdout


@pytest.mark.slow
def test_the_commands(embedded: Service, tmp_path: Path, redis_with_mysql: RedisServer, mysql_server: MySQLServer):
    servers = {
        r"redis://localhost\S+": redis_with_mysql.url,
        r"mysql\+pymysql://\S+": mysql_server.create_database(),
        r"^\.venv/bin/python\b": sys.executable,
    }
    ran = 0
    for number, command in enumerate(commands(PAGE, embedded)):
        for usual, ours in servers.items():
            command = re.sub(usual, ours, command)
        if command.endswith("make run"):
            starts_and_stops(command, tmp_path / str(number))
        elif command.startswith("make"):
            succeeds(f"make --dry-run {command.removeprefix('make')}", embedded)
        else:
            succeeds(command, embedded)
        ran += 1

    assert ran >= 5


def starts_and_stops(command: str, directory: Path):
    """Run `make run` until the service is ready, then Ctrl-C."""
    service = Service(directory)
    with (directory / "stdout").open("wb") as output:
        process = subprocess.Popen(
            ["bash", "-c", f"exec env {command}"],
            cwd=ROOT,
            env=service.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        until(lambda: "is ready" in service.output or process.poll() is not None, 60, 0.05)
        assert process.poll() is None, service.output
        assert service.get("/health/ready", token=None).status_code == 200
        os.killpg(process.pid, signal.SIGINT)
        process.wait(30)
        assert "Nothing that was accepted is lost" in service.output
    finally:
        service.process = process
        service.end()


def succeeds(command: str, service: Service):
    """Run a command in the service's environment, with a password on its standard input."""
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=ROOT,
        env=service.environment,
        input=PASSWORD + "\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
