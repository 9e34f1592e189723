"""The stack that the tests of one module share."""

import shutil
from collections.abc import Iterator

import pytest

from .stack import PROJECT, Stack, docker


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The stack of a fresh clone, started by `make build`."""
    if shutil.which("docker") is None:
        pytest.skip("there is no Docker here")
    stack = Stack(tmp_path_factory.mktemp("clone") / "lead-ingest")
    stack.clone()
    try:
        stack.built = stack.make("build")
        yield stack
    finally:
        for each in stack.containers():
            docker("rm", "--force", "--volumes", each["Id"])
        for kind in ("volume", "network"):
            names = docker(kind, "ls", "--quiet", "--filter", f"label=com.docker.compose.project={PROJECT}")
            for name in names.split():
                docker(kind, "rm", name)
