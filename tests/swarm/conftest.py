"""The Swarm and the deployment that all tests share."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit import isolation
from tests.kit import swarm as kit
from tests.kit.swarm import Swarm

from .deployment import PROXY, SERVERS, Deployment


def lacking() -> str:
    """Return in one line what this machine lacks for these tests."""
    if said := isolation.missing():
        return said
    if not isolation.is_inside():
        return "these tests need namespaces of their own: make test-swarm"
    if said := kit.missing():
        return said
    done = subprocess.run(["docker", "image", "inspect", *SERVERS, PROXY], capture_output=True, text=True)
    return (
        f"the Docker engine, for the image and for those to copy: {done.stderr.splitlines()[-1]}"
        if done.returncode
        else ""
    )


@pytest.fixture(scope="session")
def swarm() -> Iterator[Swarm]:
    """Three engines in a Swarm, with the images of others' programs."""
    if said := lacking():
        pytest.skip(said)
    # Sockets have short paths, and /tmp may be in memory.
    directory = Path(tempfile.mkdtemp(prefix="swarm-", dir="/var/tmp"))
    try:
        with Swarm(3, directory) as swarm:
            swarm.form()
            swarm.manager.copy(*SERVERS)
            for engine in swarm.engines:
                engine.copy(PROXY)
            yield swarm
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def deployment(swarm: Swarm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """The service of a fresh clone, deployed by its two commands."""
    deployment = Deployment(tmp_path_factory.mktemp("clone") / "lead-ingest", swarm)
    deployment.clone()
    try:
        deployment.build()
        deployment.deploy(f"HOSTS={' '.join(each.name for each in swarm.engines)}")
        yield deployment
    finally:
        deployment.forget_images()
