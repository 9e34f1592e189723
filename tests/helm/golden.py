"""`python -m tests.helm.golden`: writes the golden files anew, from what the chart renders now. Read the difference."""

import sys

from tests.helm.chart import GOLDEN, SETS, golden


def main() -> int:
    """Write each file."""
    GOLDEN.mkdir(exist_ok=True)
    for name in SETS:
        (GOLDEN / f"{name}.yaml").write_text(golden(name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
