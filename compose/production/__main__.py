"""`python -m compose.production`: what must be done before the containers of the production form start.

It runs once at each start and ends: nothing else begins unless it ends well.
"""

import argparse
import os
import sys
from urllib.parse import urlsplit

from compose import preflight
from compose.preflight import CannotStart
from schema import settings as settings_module
from schema.settings import Settings, SettingsError, variable
from schema.settings.passwords import weakness

# Passwords of others' programs, which no setting of ours holds.
OTHERS = ("GRAFANA_PASSWORD",)


def check_secrets(settings: Settings) -> None:
    """Raise CannotStart when a secret is empty, short or well known, or a server's URL is not set."""
    secrets = {variable("first_password"): settings.first_password}
    secrets |= {name: os.environ[name] for name in OTHERS if name in os.environ}
    for name in ("redis_url", "database_url"):
        url = getattr(settings, name)
        if not url:
            raise CannotStart(f"{variable(name)} is not set: the production form has servers of its own")
        secrets[variable(name)] = urlsplit(url).password or ""
    for name, secret in secrets.items():
        if weak := weakness(secret):
            raise CannotStart(f"{name}: {weak}")


def main() -> int:
    """Check, and prepare keys, tables and the first user; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m compose.production", description=__doc__)
    parser.add_argument("--before", action="store_true", help="leave out the migrations that must run after the code")
    options = parser.parse_args()
    try:
        settings = settings_module.load()
        check_secrets(settings)
        warning = preflight.check_queue(settings)
        preflight.prepare_keys(settings)
        preflight.prepare_database(settings, before=options.before)
    except (SettingsError, CannotStart) as error:
        print(f"Cannot start: {error}", file=sys.stderr)
        return 2
    if warning:
        print(f"WARNING: {warning}", file=sys.stderr)
    print("The tables are up to date, and somebody can log in.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
