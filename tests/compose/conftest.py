"""The stack that the tests of one module share."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.releases import LAST_RELEASE

from .stack import PROJECT, Stack, docker


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The stack of a fresh clone, started by `make build`."""
    with cloned(tmp_path_factory.mktemp("clone")) as stack:
        stack.built = stack.make("build")
        yield stack


@pytest.fixture
def stack_of_last_release(tmp_path: Path) -> Iterator[Stack]:
    """The stack of the last release, started by its own `make build`."""
    with cloned(tmp_path) as stack:
        stack.check_out(LAST_RELEASE)
        stack.make("build")
        yield stack


@contextmanager
def cloned(directory: Path) -> Iterator[Stack]:
    """Clone the repository; at the end remove all that Docker keeps of the clone's stack."""
    if shutil.which("docker") is None:
        pytest.skip("there is no Docker here")
    stack = Stack(directory / "lead-ingest")
    stack.clone()
    try:
        yield stack
    finally:
        for each in stack.containers():
            docker("rm", "--force", "--volumes", each["Id"])
        for kind in ("volume", "network"):
            names = docker(kind, "ls", "--quiet", "--filter", f"label=com.docker.compose.project={PROJECT}")
            for name in names.split():
                docker(kind, "rm", name)
