"""The schemas of sources for additionalData, compiled once for each change."""

from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, select

from ingest_api.http.envelope import unavailable
from schema.database.tables import sources
from schema.lead.additional_data import AdditionalDataCheck, AdditionalDataSchema, SchemaRefused
from schema.runtime import logs

log = logs.get(__name__)

# Retry-After, seconds, of a source whose schema somebody has to repair.
RETRY_REPAIRED = 60


class _Known(NamedTuple):
    """A schema of the last read."""

    updated_at: datetime  # of its source
    text: str
    check: AdditionalDataCheck


class _Unusable:
    """Stands for a schema that this release cannot compile: leads are not accepted unchecked."""

    def errors(self, data: dict[str, Any] | None) -> dict[str, list[str]]:
        """Raise the 503."""
        raise unavailable(
            "The schema of this source cannot be used. Nothing was accepted.", "schema_unusable", RETRY_REPAIRED
        )


class SourceSchemas:
    """Keeps what is compiled from one read to the next. Called from a reader thread: a large schema takes time."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}

    def of(self, connection: Connection, wanted: dict[str, datetime]) -> dict[str, AdditionalDataCheck]:
        """Return the schemas of these sources, each given with its last change; read and compile what has changed."""
        before = self._known
        known = {name: each for name, each in before.items() if wanted.get(name) == each.updated_at}
        changed = wanted.keys() - known.keys()
        if changed:
            columns = (sources.c.name, sources.c.updated_at, sources.c.additional_data_schema)
            for name, updated_at, text in connection.execute(select(*columns).where(sources.c.name.in_(changed))):
                # None: it was taken away since the keys were read.
                if text is not None:
                    last = before.get(name)
                    check = last.check if last and last.text == text else _compiled(name, text)
                    known[name] = _Known(updated_at, text, check)
        self._known = known
        return {name: each.check for name, each in known.items()}


def _compiled(name: str, text: str) -> AdditionalDataCheck:
    try:
        return AdditionalDataSchema(text)
    except SchemaRefused as error:
        log.error("schema not usable", source=name, reason=str(error))
        return _Unusable()
