"""The cursor of `changes`: how far a reader has come in each slot (schema.database.stored_positions).

It is not encrypted, holds nothing of a person, and depends on no key, process or release: it stays good for ever.
"""

import base64
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ingest_api.reads.cursor import BadCursor
from schema.lead.lead_id import LeadId

FORMAT = 1

NOTHING: LeadId = bytes(16)  # before the id of every lead

_HEAD = struct.Struct(">B16s")  # format, history
_POSITION = struct.Struct(">Bq")  # slot, position
_CHECKSUM = struct.Struct(">I")  # CRC-32 of what is before it


@dataclass(frozen=True, slots=True)
class ChangesCursor:
    """The last lead that was read of those without a position, and the last position that was read of each slot."""

    history: LeadId = NOTHING
    positions: Mapping[int, int] = field(default_factory=dict)

    def ahead(self, last: Mapping[int, int]) -> dict[int, int]:
        """Return the slots whose `last` position is after this cursor, each with the position that was read."""
        return {slot: self.positions.get(slot, 0) for slot in last if last[slot] > self.positions.get(slot, 0)}

    def at(self, positions: Mapping[int, int]) -> "ChangesCursor":
        """Return this cursor moved on to `positions`, in those slots alone."""
        return replace(self, positions={**self.positions, **positions})

    def encode(self) -> str:
        """Return the cursor as text that may stand in a URL: 28 characters, and 12 for each slot."""
        known = (_POSITION.pack(*each) for each in sorted(self.positions.items()))
        content = _HEAD.pack(FORMAT, self.history) + b"".join(known)
        sealed = content + _CHECKSUM.pack(zlib.crc32(content))
        return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()

    @classmethod
    def decode(cls, text: str) -> "ChangesCursor":
        """Return the cursor that `encode` wrote. Raises BadCursor for anything else."""
        try:
            sealed = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), b"-_", validate=True)
            content = sealed[: -_CHECKSUM.size]
            form, history = _HEAD.unpack_from(content)
            found = cls(history, dict(_POSITION.iter_unpack(content[_HEAD.size :])))
        except (ValueError, struct.error):
            raise BadCursor("This cursor is not valid.") from None
        # The one text of its content, with the checksum of this very text.
        if form != FORMAT or found.encode() != text:
            raise BadCursor("This cursor is not valid.")
        return found
