"""`python -m tests.swarm`: pytest in namespaces of its own, so that nothing outlives the run. `make test-swarm`."""

import sys

import pytest

from tests.kit import isolation


def main() -> int:
    """Run pytest with the arguments of the command line; return its exit status."""
    if not isolation.is_inside():
        if isolation.missing():
            return pytest.main(sys.argv[1:])  # which skips, and says why
        isolation.enter("tests.swarm")
    isolation.prepare()
    return pytest.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
