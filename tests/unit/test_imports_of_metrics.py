"""prometheus_client decides at its import whether several processes are summed up: `serve` must come first."""

import subprocess
import sys


def test_the_command_line_does_not_import_the_metrics():
    code = "import sys, ingest_api.cli; sys.exit('prometheus_client' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
