"""The database of all contenders: durable, and with memory as on a server of its own."""

from tests.servers import AS_IT_COMES, MariaDBServer

# Equal for all. The later of two equal options counts.
OPTIONS = {
    "innodb-buffer-pool-size": "1G",
    "innodb-log-file-size": "512M",
    "innodb-flush-log-at-trx-commit": "1",
    "local-infile": "1",
    "max-connections": "500",
}


class BenchDatabase(MariaDBServer):
    """MariaDB with `OPTIONS`: each COMMIT is on disk when it is answered."""

    def command(self) -> list[str]:
        """Return the command that runs the server in the foreground."""
        return [*super().command(), AS_IT_COMES, *(f"--{name}={value}" for name, value in OPTIONS.items())]
