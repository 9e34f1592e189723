"""A Kubernetes control plane for the tests, of private processes, with nodes by kwok.

What runs for real is the API with its admission and every controller. Pods are only said to run: no image is pulled, no
probe asked, no volume written.
"""

import json
import os
import secrets
import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import pytest

from tests.kit.ports import free_port
from tests.kit.servers import Server, until

# Where tests/install-kubernetes puts what it builds.
BUILT = Path(__file__).parents[2] / ".kubernetes"

PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok", "kubectl")

# Nodes, each in a zone of its own.
NODES = 3

# Seconds between two looks of an autoscaler at its metrics.
AUTOSCALER_INTERVAL = "2s"


def find_tool(name: str) -> str | None:
    """Return the path of a program: of those that were built, or the system's."""
    return shutil.which(name, path=str(BUILT / "bin")) or shutil.which(name)


def need(*names: str) -> None:
    """Skip a whole module with one line when a program is missing. Call it at the module's top level."""
    missing = [name for name in names if find_tool(name) is None]
    if missing:
        reason = f"{', '.join(missing)} not installed: tests/install-kubernetes builds what the chart's tests need"
        pytest.skip(reason, allow_module_level=True)


def tool(name: str) -> str:
    """Return the path of a program; without one, skip the test."""
    found = find_tool(name)
    if found is None:
        pytest.skip(f"{name} is not installed: tests/install-kubernetes builds it")
    return found


class _Process(Server):
    """One process of the control plane, whose command line is given."""

    def __init__(self, command: list[str], ready: Any = lambda: True) -> None:
        super().__init__()
        self._command = command
        self._ready = ready

    def command(self) -> list[str]:
        """Return the command that runs it in the foreground."""
        return self._command

    def answers(self) -> bool:
        """Tell whether it works."""
        return bool(self._ready())


class Kubernetes:
    """The control plane. It stops at the block's end, and nothing of it is left."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.port = free_port()
        self.directory = Path()
        self.kubeconfig = Path()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._start(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start(self, stack: ExitStack) -> None:
        etcd, peers = free_port(), free_port()
        clients = f"http://127.0.0.1:{etcd}"
        store = _Process(
            [
                tool("etcd"),
                *("--data-dir", "data", "--unsafe-no-fsync"),
                *("--listen-client-urls", clients, "--advertise-client-urls", clients),
                *("--listen-peer-urls", f"http://127.0.0.1:{peers}"),
            ]
        )
        stack.enter_context(store)
        self.directory = store.directory
        self.kubeconfig = self.directory / "kubeconfig"
        self._make_certificates()
        token = secrets.token_hex(16)
        (self.directory / "tokens").write_text(f"{token},admin,admin,system:masters\n")
        self._write_kubeconfig(token)
        stack.enter_context(_Process(self._api_server(clients), self._is_ready))
        kubeconfig = ("--kubeconfig", str(self.kubeconfig))
        keys = ("--service-account-private-key-file", self._file("sa.key"), "--root-ca-file", self._file("ca.crt"))
        alone = ("--leader-elect=false", "--secure-port=0")
        often = ("--horizontal-pod-autoscaler-sync-period", AUTOSCALER_INTERVAL)
        stack.enter_context(
            _Process(
                [
                    tool("kube-controller-manager"),
                    *(*kubeconfig, *keys, *alone, *often),
                    *("--use-service-account-credentials=true", "--controllers=*"),
                    # A new pod's processor counts at once.
                    *("--horizontal-pod-autoscaler-cpu-initialization-period", "1s"),
                    *("--horizontal-pod-autoscaler-initial-readiness-delay", "1s"),
                ]
            )
        )
        stack.enter_context(_Process([tool("kube-scheduler"), *kubeconfig, *alone]))
        stack.enter_context(
            _Process(
                [
                    tool("kwok"),
                    *kubeconfig,
                    *("--manage-all-nodes=true", "--node-lease-duration-seconds=40", "--cidr=10.0.0.0/16"),
                    f"--server-address=127.0.0.1:{free_port()}",
                ]
            )
        )
        for number in range(NODES):
            self.apply(_node(number))
        until(lambda: self._ready_nodes() == NODES, 60, 0.2)

    def _api_server(self, etcd: str) -> list[str]:
        account = ("--service-account-issuer", "https://kubernetes.default.svc")
        proxy = ("--requestheader-client-ca-file", self._file("ca.crt"), "--requestheader-allowed-names", "front")
        return [
            tool("kube-apiserver"),
            *("--etcd-servers", etcd, "--bind-address", "127.0.0.1", "--advertise-address", "127.0.0.1"),
            *("--secure-port", str(self.port), "--tls-cert-file", self._file("server.crt")),
            *("--tls-private-key-file", self._file("server.key"), "--client-ca-file", self._file("ca.crt")),
            *("--service-cluster-ip-range", "10.96.0.0/16", "--endpoint-reconciler-type", "none"),
            *(*account, "--service-account-key-file", self._file("sa.pub")),
            *("--service-account-signing-key-file", self._file("sa.key")),
            *("--token-auth-file", str(self.directory / "tokens"), "--authorization-mode", "RBAC"),
            *(*proxy, "--requestheader-username-headers", "X-Remote-User"),
            *("--requestheader-group-headers", "X-Remote-Group", "--requestheader-extra-headers-prefix", "X-Remote-"),
            *("--proxy-client-cert-file", self._file("front.crt"), "--proxy-client-key-file", self._file("front.key")),
        ]

    def _file(self, name: str) -> str:
        return str(self.directory / name)

    def _make_certificates(self) -> None:
        make = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2")
        self._openssl(*make, "-subj", "/CN=tests", "-keyout", self._file("ca.key"), "-out", self._file("ca.crt"))
        for name in ("server", "front"):
            self._openssl(
                *(*make, "-subj", f"/CN={name}", "-keyout", self._file(f"{name}.key")),
                *("-out", self._file(f"{name}.crt"), "-CA", self._file("ca.crt"), "-CAkey", self._file("ca.key")),
                *("-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-addext", "basicConstraints=CA:FALSE"),
            )
        self._openssl("genrsa", "-out", self._file("sa.key"), "2048")
        self._openssl("rsa", "-in", self._file("sa.key"), "-pubout", "-out", self._file("sa.pub"))

    @staticmethod
    def _openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True)

    def _write_kubeconfig(self, token: str) -> None:
        cluster = {"server": f"https://127.0.0.1:{self.port}", "certificate-authority": self._file("ca.crt")}
        self.kubeconfig.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "tests",
                    "clusters": [{"name": "tests", "cluster": cluster}],
                    "users": [{"name": "admin", "user": {"token": token}}],
                    "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "admin"}}],
                }
            )
        )

    def _is_ready(self) -> bool:
        return self.kubectl("get", "--raw", "/readyz", check=False).stdout == "ok"

    def _ready_nodes(self) -> int:
        nodes = self.get("nodes")
        return sum(
            any(each["type"] == "Ready" and each["status"] == "True" for each in node["status"].get("conditions", ()))
            for node in nodes
        )

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which helm and others find this API."""
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig)}

    def kubectl(
        self, *arguments: str, stdin: str = "", check: bool = True, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl."""
        done = subprocess.run(
            [tool("kubectl"), *arguments],
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert not check or done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done

    def apply(self, *objects: dict[str, Any]) -> None:
        """Make or change objects."""
        self.kubectl(
            "apply", "--filename", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        )

    def get(self, kind: str, namespace: str = "", selector: str = "") -> list[dict[str, Any]]:
        """Return all objects of a kind, in a namespace and with labels where those are given."""
        where = (*(("--namespace", namespace) if namespace else ()), *(("--selector", selector) if selector else ()))
        found: list[dict[str, Any]] = json.loads(self.kubectl("get", kind, *where, "--output", "json").stdout)["items"]
        return found

    def one(self, kind: str, name: str, namespace: str) -> dict[str, Any]:
        """Return one object."""
        where = ("--namespace", namespace, "--output", "json")
        found: dict[str, Any] = json.loads(self.kubectl("get", kind, name, *where).stdout)
        return found


def _node(number: int) -> dict[str, Any]:
    name = f"node-{number}"
    room = {"cpu": "16", "memory": "32Gi", "pods": "110"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": f"zone-{number}"},
        },
        "status": {"capacity": room, "allocatable": room},
    }
