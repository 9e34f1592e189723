"""The database of all contenders: durable, and with memory as on a server of its own."""

from tests.kit.databases import DatabaseServer, chosen

# Equal for all, beside the redo log of half a gigabyte.
OPTIONS = {
    "innodb-buffer-pool-size": "1G",
    "innodb-flush-log-at-trx-commit": "1",
    "local-infile": "1",
    "max-connections": "500",
}


def bench_database(name: str) -> DatabaseServer:
    """Make the server called `name`, or what is there for "": each COMMIT is on disk when it is answered."""
    kind = chosen(name)
    options = {**OPTIONS, kind.redo_log: "512M"}
    return kind.of_disk(*(f"--{option}={value}" for option, value in options.items()))
