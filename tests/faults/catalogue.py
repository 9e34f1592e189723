"""The faults, as faults.toml lists them."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIST = Path(__file__).parent / "faults.toml"


@dataclass(frozen=True)
class Fault:
    """One change that does harm, or is shown to do none."""

    id: str
    file: str  # from the root of the project
    old: str  # stands in the file exactly once
    new: str
    harm: str  # what it would do to a lead or a client
    tests: tuple[str, ...]  # those that should notice it: a file, and "::" and the test's name
    backend: str = "embedded"  # the backend on which they run
    harmless: str = ""  # why nothing notices it and nothing needs to

    def applied_to(self, text: str) -> str:
        """Return the file's text with the fault in it. Raises ValueError when the old text is not there once."""
        if text.count(self.old) != 1:
            raise ValueError(f"{self.id}: {self.file} has the old text {text.count(self.old)} times")
        return text.replace(self.old, self.new)


def read_faults() -> list[Fault]:
    """Return all faults in the list's order."""
    rows = tomllib.loads(LIST.read_text())["fault"]
    return [Fault(**row | {"tests": tuple(row["tests"])}) for row in rows]
