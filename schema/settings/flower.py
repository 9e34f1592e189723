"""Flower: where it listens, and who may look."""

from dataclasses import dataclass
from pathlib import Path

from schema.settings.declare import number, setting
from schema.settings.passwords import WELL_KNOWN_PASSWORD


@dataclass(frozen=True)
class FlowerSettings:
    """Flower: where it listens, and who may look."""

    flower_host: str = setting("127.0.0.1", "Address Flower listens on.")
    flower_port: int = number(5555, "Port Flower listens on.", unit="port", low=1, high=65535)
    flower_user: str = setting("test@example.com", "User of Flower's pages (HTTP basic).")
    flower_password: str = setting(
        WELL_KNOWN_PASSWORD,
        "Password of Flower's pages. The default, and one of less than 12 characters, are refused when Flower listens "
        "off loopback.",
    )
    flower_database: Path | None = setting(
        None,
        "File in which Flower keeps the tasks it has seen over a restart. Empty: `flower/tasks` under the data dir.",
        kind="path",
    )
