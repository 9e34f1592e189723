"""What the integration tests' statements say to MySQL and MariaDB: no bare reserved word, nothing deprecated.

An autouse fixture hands every statement of every test to `Listener`, so a new query is checked by its own test.
"""

import re
from typing import Any

from sqlalchemy import Engine, event

from schema.database.engines import Product, product_of
from tests.kit.databases import DatabaseServer

# Strings, quoted names and placeholders, which may hold any word.
_QUOTED = re.compile(r"'(?:[^'\\]|\\.|'')*'|`[^`]*`|\"[^\"]*\"|%\(\w+\)s|%s")

# SQL of ours has its keywords in capitals and its names in small letters.
_NAMES = re.compile(r"\b[a-z][a-z0-9_]*\b")


class Listener:
    """Notes the statements that engines send to MySQL and MariaDB, and the warnings that those answer."""

    def __init__(self) -> None:
        self.statements: set[tuple[Product, str]] = set()
        self.warnings: set[str] = set()

    def __enter__(self) -> "Listener":
        event.listen(Engine, "after_cursor_execute", self._note)
        return self

    def __exit__(self, *_: object) -> None:
        event.remove(Engine, "after_cursor_execute", self._note)

    def _note(self, connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        product = product_of(connection)
        if product is Product.SQLITE:
            return
        self.statements.add((product, statement))
        if getattr(cursor, "warning_count", 0):
            for _level, code, message in cursor.connection.show_warnings():
                self.warnings.add(f"{code} {message}")

    @property
    def deprecated(self) -> list[str]:
        """The warnings about what a later version will not have."""
        return sorted(each for each in self.warnings if "deprecated" in each)


def names_in(statement: str) -> set[str]:
    """Return the names that stand in a statement without quotes."""
    return set(_NAMES.findall(_QUOTED.sub(" ", statement)))


def reserved(server: DatabaseServer, words: set[str]) -> set[str]:
    """Return those of the words that a server takes for no name unless they are quoted: it is asked."""
    known = {str(row[0]).lower() for row in server.execute("SELECT word FROM information_schema.keywords")}
    return {word for word in words & known if not server.parses(f"SELECT {word} FROM (SELECT 1 AS `{word}`) AS it")}
