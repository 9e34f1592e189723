"""The database of all contenders: durable, and with memory as on a server of its own."""

from tests.servers import MariaDBServer

# Equal for all. The later of two equal options counts.
OPTIONS = {
    "innodb-buffer-pool-size": "1G",
    "innodb-log-file-size": "512M",
    "innodb-flush-log-at-trx-commit": "1",
    "local-infile": "1",
    "max-connections": "500",
    "innodb-use-native-aio": "1",  # as it comes; the tests' servers, which are killed, write otherwise
}


class BenchDatabase(MariaDBServer):
    """MariaDB with `OPTIONS`: each COMMIT is on disk when it is answered."""

    def command(self) -> list[str]:
        """Return the command that runs the server in the foreground."""
        return [*super().command(), *(f"--{name}={value}" for name, value in OPTIONS.items())]
