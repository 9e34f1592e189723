"""Requests that no HTTP client would send: bytes on a socket."""

import http.client
import socket
from collections.abc import Iterable

import httpx

from tests.kit.service import Service

# Seconds without a byte from the service.
TIMEOUT = 10.0


def request(service: Service, method: str, path: str, body: bytes = b"", **headers: str | bytes) -> bytes:
    """Write a request of the test user; headers are named as in `Content_Type="..."` and taken as they are."""
    lines = {
        "Host": b"localhost",
        "Authorization": f"Bearer {service.token()}".encode(),
        "Content-Type": b"application/json",
        "Content-Length": str(len(body)).encode(),
    }
    for name, value in headers.items():
        lines[name.replace("_", "-")] = value.encode() if isinstance(value, str) else value
    head = b"".join(b"%b: %b\r\n" % (name.encode(), value) for name, value in lines.items() if value != b"")
    return b"%b %b HTTP/1.1\r\n%b\r\n%b" % (method.encode(), path.encode(), head, body)


def exchange(service: Service, *parts: bytes, method: str = "POST") -> httpx.Response:
    """Send bytes on a connection of their own and return the answer."""
    with socket.create_connection(("127.0.0.1", service.port), TIMEOUT) as connection:
        for part in parts:
            try:
                connection.sendall(part)
            except (BrokenPipeError, ConnectionResetError):
                break  # answered already, and closed: the answer is there to read
        return receive(connection, method)


def receive(connection: socket.socket, method: str = "POST") -> httpx.Response:
    """Read one answer."""
    response = http.client.HTTPResponse(connection, method=method)
    response.begin()
    return httpx.Response(response.status, headers=response.getheaders(), content=response.read())


def chunked(pieces: Iterable[bytes]) -> bytes:
    """Write a body in HTTP's chunked coding."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def sent_whole(service: Service, port: int, path: str, size: int, times: int) -> list[httpx.Response]:
    """POST blanks from a plain socket, all of them before the answer is read, and with httpx; return the answers."""
    answers = []
    body = b" " * size
    head = request(service, "POST", path, Content_Length=str(size))
    with httpx.Client(timeout=TIMEOUT) as client:
        for _ in range(times):
            with socket.create_connection(("127.0.0.1", port), TIMEOUT) as connection:
                connection.sendall(head)
                connection.sendall(body)
                answers.append(receive(connection))
            headers = {**service.headers(), "Content-Type": "application/json"}
            answers.append(client.post(f"http://127.0.0.1:{port}{path}", content=body, headers=headers))
    return answers
