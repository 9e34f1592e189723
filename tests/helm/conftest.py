"""The control plane that the tests of one module share."""

import zlib
from collections.abc import Iterator

import pytest

from tests.helm.release import Release
from tests.kit.kubernetes import BUILT, Kubernetes


@pytest.fixture(scope="session")
def kubernetes() -> Iterator[Kubernetes]:
    """A control plane that knows the custom resources of the chart."""
    with Kubernetes() as kubernetes:
        crds = sorted((BUILT / "crds").glob("*.yaml"))
        for path in crds:
            # The annotation of a client's own apply would be too long.
            kubernetes.kubectl("apply", "--server-side", "--filename", str(path))
        names = [f"crd/{path.stem.partition('_')[2]}.{path.stem.partition('_')[0]}" for path in crds]
        kubernetes.kubectl("wait", "--for=condition=Established", "--timeout=60s", *names)
        yield kubernetes


@pytest.fixture
def release(kubernetes: Kubernetes, request: pytest.FixtureRequest) -> Iterator[Release]:
    """A release in a namespace of its own, which is not installed yet."""
    namespace = f"test-{zlib.crc32(request.node.nodeid.encode()):08x}"
    made = Release(kubernetes, namespace)
    yield made
    kubernetes.kubectl("delete", "namespace", namespace, "--wait=false")
