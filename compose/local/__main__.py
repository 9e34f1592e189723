"""`make run`: starts the whole service on this machine, keeps it alive, and stops it when told to."""

import argparse
import asyncio
import logging
import sys

from compose import preflight
from compose.local.banner import banner
from compose.local.supervisor import Supervisor
from compose.preflight import CannotStart
from schema import settings as settings_module
from schema.settings import SettingsError


def main() -> int:
    """Run the service; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m compose.local", description=__doc__)
    parser.add_argument("--stop-with-parent", action="store_true", help="stop when the process that started this ends")
    options = parser.parse_args()
    # Keeps circus, Celery and Alembic quiet on the terminal.
    logging.disable(logging.WARNING)
    try:
        settings = settings_module.load()
        lock = preflight.take_data_dir(settings)
        preflight.check_ports(settings)
        warning = preflight.check_queue(settings)
        preflight.prepare_keys(settings)
        test_user = preflight.prepare_database(settings)
        preflight.remove_stale_socket(settings)
    except (SettingsError, CannotStart) as error:
        print(f"Cannot start: {error}", file=sys.stderr)
        return 2

    async def run() -> int:
        return await Supervisor(settings).run(
            banner(settings, test_user=test_user, warning=warning), with_parent=options.stop_with_parent
        )

    with lock:
        return asyncio.run(run())


if __name__ == "__main__":
    sys.exit(main())
