"""The reference of the settings, written from their declarations."""

import dataclasses

from schema.settings import Settings, variable

HEADER = """\
# Settings

Read from the environment at the start of each process. An empty variable counts as absent. A wrong
value stops the start with one line that names it. Made from `schema/settings.py` by `make docs`; a
test holds the two together.

| variable | default | type, unit | meaning |
|---|---|---|---|
"""

# Defaults that depend on the machine, in words.
_WORDS = {"http_workers": "one for each core", "data_dir": "`./var`"}


def reference() -> str:
    """Return the reference as a Markdown page: one row for each setting."""
    rows = []
    for spec in dataclasses.fields(Settings):
        default = f"`{spec.default}`" if spec.default not in ("", None, (), dataclasses.MISSING) else "empty"
        default = _WORDS.get(spec.name, default)
        kind = ", ".join(part for part in (spec.metadata["kind"], spec.metadata["unit"]) if part)
        rows.append(f"| `{variable(spec.name)}` | {default} | {kind} | {spec.metadata['doc']} |")
    return HEADER + "\n".join(rows) + "\n"
