"""The parameters of the list of dead letters, and the body of a replay."""

from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from ingest_api.parameters.kinds import UNKNOWN_PARAMETER, WholeNumber
from schema.lead.rules import NOT_OBJECT
from schema.queue.dead_letters import LETTER_NAME_RULE, is_name

LETTERS_LIMIT_MAX = 100

# Most letters of a shard whose reasons are counted in one answer, the newest: each is read from Redis.
REASONS_OF = 5_000

# Longest reason, characters; those that there are come from the database or from the worker, and are shorter.
REASON_MAX = 500


def _name(text: str) -> None:
    if not is_name(text):
        raise ValidationError("This value is no dead letter's name.")


class LettersQuerySchema(Schema):
    """The parameters of the list."""

    error_messages = {"unknown": UNKNOWN_PARAMETER}

    limit = WholeNumber(1, LETTERS_LIMIT_MAX, load_default=10, metadata={"description": "Dead letters on a page"})
    reason = fields.String(
        load_default=None,
        validate=validate.Length(1, REASON_MAX),
        metadata={"description": "Those of one reason alone"},
    )
    after = fields.String(
        load_default=None, validate=_name, metadata={"description": "`next` of the page before", **LETTER_NAME_RULE}
    )


class ReplaySchema(Schema):
    """What to replay: one letter, or all."""

    error_messages = {"unknown": UNKNOWN_PARAMETER, "type": NOT_OBJECT}

    letter = fields.String(validate=_name, metadata={"description": "A dead letter's name", **LETTER_NAME_RULE})
    all = fields.Boolean(truthy={True}, falsy={False}, metadata={"description": "Replay all dead letters"})

    @validates_schema
    def _one_of_both(self, data: dict[str, Any], **_: Any) -> None:
        if ("letter" in data) == data.get("all", False):
            raise ValidationError("Name one letter, or say that it is all.", "letter")


LETTERS_QUERY = LettersQuerySchema()
REPLAY_BODY = ReplaySchema()
