"""The Kubernetes API of pods' metrics, with numbers that the test gives: there are no kubelets to ask."""

import json
import ssl
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from tests.kit.kubernetes import Kubernetes
from tests.kit.servers import until

GROUP = "metrics.k8s.io/v1beta1"


class PodMetrics:
    """Serves metrics.k8s.io to one control plane. Each container of each pod uses `cpu`, such as 900m."""

    def __init__(self, kubernetes: Kubernetes) -> None:
        self.cpu = "1m"
        self._kubernetes = kubernetes
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(kubernetes.directory / "server.crt", kubernetes.directory / "server.key")
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        port = self._server.server_address[1]
        service = {"name": "pod-metrics", "namespace": "kube-system"}
        spec = {"group": "metrics.k8s.io", "version": "v1beta1", "groupPriorityMinimum": 100, "versionPriority": 100}
        self._kubernetes.apply(
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": service,
                "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": port}]},
            },
            {
                "apiVersion": "apiregistration.k8s.io/v1",
                "kind": "APIService",
                "metadata": {"name": "v1beta1.metrics.k8s.io"},
                "spec": {**spec, "insecureSkipTLSVerify": True, "service": {**service, "port": port}},
            },
        )
        until(lambda: self._kubernetes.kubectl("get", "--raw", f"/apis/{GROUP}", check=False).returncode == 0, 60, 0.2)
        return self

    def __exit__(self, *_: object) -> None:
        self._kubernetes.kubectl("delete", "apiservice", "v1beta1.metrics.k8s.io")
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, path: str) -> dict[str, Any]:
        """Return what is asked for: the resources of the API, or the metrics of a namespace's pods."""
        url = urlsplit(path)
        parts = url.path.strip("/").split("/")
        if parts == ["apis", *GROUP.split("/")]:
            pods = {
                "name": "pods",
                "singularName": "",
                "namespaced": True,
                "kind": "PodMetrics",
                "verbs": ["get", "list"],
            }
            return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": GROUP, "resources": [pods]}
        selector = parse_qs(url.query).get("labelSelector", [""])[0]
        items = [self._of(pod) for pod in self._kubernetes.get("pods", parts[4], selector)]
        return {"kind": "PodMetricsList", "apiVersion": GROUP, "metadata": {}, "items": items}

    def _of(self, pod: dict[str, Any]) -> dict[str, Any]:
        names = [container["name"] for container in pod["spec"]["containers"]]
        return {
            "metadata": {"name": pod["metadata"]["name"], "namespace": pod["metadata"]["namespace"]},
            "timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "window": "15s",
            "containers": [{"name": name, "usage": {"cpu": self.cpu, "memory": "100Mi"}} for name in names],
        }

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        metrics = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = json.dumps(metrics.answer(self.path)).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        return Handler
