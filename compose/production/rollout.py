"""`python -m compose.production.rollout`: waits in Kubernetes until no pod of a component is of another release.

A chart replaces API, workers and beat at once, and a release has an order (docs/adr/0011). Reads the service account's
files and lists pods, nothing else.
"""

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

import urllib3
from urllib3.exceptions import HTTPError

# Where the kubelet puts the token, the namespace and the API server's authority.
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")

# Seconds between two looks, and longest wait for one answer.
INTERVAL = 2.0
ANSWER_TIMEOUT = 10.0

# The annotation of each pod that names its release's image.
IMAGE = "lead-ingest/image"

# Phases of a pod whose processes have ended.
ENDED = ("Succeeded", "Failed")


class NoAnswer(Exception):
    """The Kubernetes API does not answer, or refuses; the message is one line."""


def old_pods(account: Path, selector: str, image: str) -> list[str]:
    """Return the names of the selected pods that are of another release than `image`, those that are ending too.

    Raises NoAnswer.
    """
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST", ""), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    try:
        token, namespace = ((account / name).read_text().strip() for name in ("token", "namespace"))
    except OSError as error:
        raise NoAnswer(f"{error.filename}: {error.strerror}") from None
    with urllib3.PoolManager(ca_certs=str(account / "ca.crt")) as pool:
        try:
            answer = pool.request(
                "GET",
                f"https://{f'[{host}]' if ':' in host else host}:{port}/api/v1/namespaces/{namespace}/pods",
                fields={"labelSelector": selector},
                headers={"Authorization": f"Bearer {token}"},
                timeout=ANSWER_TIMEOUT,
                retries=False,
            )
        except HTTPError as error:
            raise NoAnswer(f"the Kubernetes API does not answer: {type(error).__name__}") from None
    if answer.status != 200:
        raise NoAnswer(f"the Kubernetes API answers {answer.status}")
    return [pod["metadata"]["name"] for pod in answer.json()["items"] if _is_of_another(pod, image)]


def _is_of_another(pod: dict[str, Any], image: str) -> bool:
    if pod.get("status", {}).get("phase") in ENDED:
        return False
    return bool(pod["metadata"].get("annotations", {}).get(IMAGE) != image)


def main() -> int:
    """Wait; return the exit status, 1 when there are old pods still."""
    parser = argparse.ArgumentParser(prog="python -m compose.production.rollout", description=__doc__)
    parser.add_argument("--name", default="lead-ingest", help="the chart's name")
    parser.add_argument("--instance", required=True, help="the chart's release")
    parser.add_argument("--image", required=True, help="the image of the new pods")
    parser.add_argument("--timeout", type=float, default=900.0, help="seconds to wait at most")
    parser.add_argument("--account", type=Path, default=ACCOUNT, help="directory with token, namespace and ca.crt")
    parser.add_argument("components", nargs="+", help="api, worker, beat")
    options = parser.parse_args()
    labels = {"name": options.name, "instance": options.instance}
    selector = "".join(f"app.kubernetes.io/{label}={value}," for label, value in labels.items())
    selector += f"app.kubernetes.io/component in ({','.join(options.components)})"
    deadline = time.monotonic() + options.timeout
    said = ""
    while True:
        try:
            found = old_pods(options.account, selector, options.image)
        except NoAnswer as error:
            reason = str(error)
        else:
            if not found:
                print(f"No {' or '.join(options.components)} of another release runs.", flush=True)
                return 0
            reason = f"another release runs in {', '.join(sorted(found))}"
        if reason != said:
            print(f"Waiting: {reason}", flush=True)
            said = reason
        if time.monotonic() > deadline:
            print(f"Waited for {options.timeout:.0f} seconds: {reason}", file=sys.stderr)
            return 1
        time.sleep(INTERVAL)


if __name__ == "__main__":
    sys.exit(main())
