"""The accounts of the production form on servers of the tests, made by its own scripts as an administrator does."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import redis

from tests.kit.databases import DatabaseServer

PRODUCTION = Path(__file__).parents[2] / "compose" / "production"

# What the scripts read from their environment.
SECRETS = (
    *("MYSQL_API_PASSWORD", "MYSQL_WORKER_PASSWORD", "MYSQL_MIGRATE_PASSWORD"),
    *("REDIS_API_PASSWORD", "REDIS_WORKER_PASSWORD", "REDIS_FLOWER_PASSWORD", "REDIS_MIGRATE_PASSWORD"),
    "REDIS_PASSWORD",
)


def redis_users(secrets: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the rules of each user of Redis."""
    rules = (line.split()[1:] for line in _printed("redis/users", secrets).splitlines())
    return {name: rest for name, *rest in rules}


def make_redis_users(client: redis.Redis, secrets: Mapping[str, str]) -> None:
    """Make the users of Redis; `default` stays as it is."""
    for name, rules in redis_users(secrets).items():
        if name != "default":
            client.execute_command("ACL", "SETUSER", name, "reset", *rules)


def make_mysql_accounts(server: DatabaseServer, secrets: Mapping[str, str]) -> None:
    """Make the accounts of MySQL, which have the database `leads`."""
    server.run_script(_printed("mysql/accounts", secrets))


def grant(server: DatabaseServer) -> None:
    """Give the accounts of MySQL their rights in the tables, which are there."""
    server.run_script((PRODUCTION / "mysql" / "grants.sql").read_text())


def _printed(script: str, secrets: Mapping[str, str]) -> str:
    command = ["sh", str(PRODUCTION / script)]
    return subprocess.run(command, env={**os.environ, **secrets}, capture_output=True, text=True, check=True).stdout
