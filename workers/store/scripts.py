"""The scripts with which a worker removes leads from the queue."""

from pathlib import Path

from schema.queue.keys import DEAD, DEAD_PREFIX, INDEX, REASON_FIELD, STORING_DELAY, STORING_PROBLEM, STREAM
from schema.queue.script import Script

_HERE = Path(__file__).parent

# How long, seconds, the delay of the last batch is shown when no other follows.
DELAY_TTL = 900

ACKNOWLEDGE = Script(
    _HERE / "acknowledge.lua",
    keys={"STREAM": STREAM, "INDEX": INDEX, "STORING_DELAY": STORING_DELAY, "STORING_PROBLEM": STORING_PROBLEM},
    arguments=("group", "entries"),
    constants={"DELAY_TTL": DELAY_TTL},
)
DEAD_LETTER = Script(
    _HERE / "dead_letter.lua",
    keys={"STREAM": STREAM, "DEAD": DEAD, "INDEX": INDEX},
    arguments=("group", "entry", "reason", "lead"),
    constants={"REASON_FIELD": REASON_FIELD, "DEAD_PREFIX": DEAD_PREFIX},
)
