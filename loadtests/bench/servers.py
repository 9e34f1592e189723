"""The database server of all contenders: durable, with a buffer pool like that of a dedicated server."""

from tests.kit.databases import DatabaseServer, chosen

# Options of every product; only the redo log's option has a name of its own in each.
OPTIONS = {
    "innodb-buffer-pool-size": "1G",
    "innodb-flush-log-at-trx-commit": "1",
    "local-infile": "1",
    "max-connections": "500",
}


def bench_database(name: str) -> DatabaseServer:
    """Make the server called `name`, for "" MySQL if installed, else MariaDB. Each COMMIT is on disk when answered."""
    kind = chosen(name)
    options = {**OPTIONS, kind.redo_log: "512M"}
    return kind.of_disk(*(f"--{option}={value}" for option, value in options.items()))
