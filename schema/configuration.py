"""The reference of the settings, generated from their declarations."""

import dataclasses

from schema.settings import GROUPS, Settings, variable

SETTINGS_HEADER = """\
# Settings

Read from the environment at the start of each process. An empty variable counts as absent. A wrong
value stops the start with one line that names it. In place of `NAME`, `NAME_FILE` may name a file
that holds the value, such as a secret of Docker's (`LEADS_REDIS_URL_FILE=/run/secrets/redis-url`);
it takes precedence, and white space around the value is dropped. Made from `schema/settings/` by `make docs`; a
test holds the two together.
"""

TABLE = """\
| variable | default | type, unit | meaning |
|---|---|---|---|
"""

# Defaults that depend on the machine or the working directory, in words.
_WORDS = {"http_workers": "one for each core", "data_dir": "`./var`"}


def reference() -> str:
    """Return the reference as a Markdown page: a table for each group, one row for each setting."""
    grouped = {spec.name for group in GROUPS.values() for spec in dataclasses.fields(group)}
    rest = [spec for spec in dataclasses.fields(Settings) if spec.name not in grouped]
    tables = [("Where things are kept", rest)]
    tables += [(title, list(dataclasses.fields(group))) for title, group in GROUPS.items()]
    return SETTINGS_HEADER + "".join(f"\n## {title}\n\n{TABLE}{''.join(map(_row, specs))}" for title, specs in tables)


def _row(spec: dataclasses.Field[object]) -> str:
    default = f"`{spec.default}`" if spec.default not in ("", None, (), dataclasses.MISSING) else "empty"
    default = _WORDS.get(spec.name, default)
    kind = ", ".join(part for part in (spec.metadata["kind"], spec.metadata["unit"]) if part)
    return f"| `{variable(spec.name)}` | {default} | {kind} | {spec.metadata['doc']} |\n"
