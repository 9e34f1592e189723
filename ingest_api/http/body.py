"""Request bodies: read within bounds of size and time, and decoded."""

import asyncio
import re

import falcon
import orjson

from ingest_api.http.context import Request
from ingest_api.http.envelope import JSON, ApiError, invalid
from ingest_api.http.scope import is_body_buffered
from schema.lead import codec

NDJSON = "application/x-ndjson"

BODY_MAX = 1024 * 1024  # bytes
BULK_BODY_MAX = 8 * 1024 * 1024  # bytes

_UTF8 = re.compile(r"^(utf-?8|us-ascii)$", re.IGNORECASE)


class NotJson(ValueError):
    """Bytes that are not JSON; the message says what is wrong and where."""


def media_type(req: Request, *allowed: str) -> str:
    """Return the body's media type, which must be one of `allowed`, in UTF-8 and not compressed.

    Raises the 415.
    """
    given = req.content_type or ""
    encoding = req.get_header("Content-Encoding")
    if given in allowed and encoding is None:
        return given
    kind, options = falcon.parse_header(given)
    kind = kind.strip().lower()
    if kind not in allowed:
        raise ApiError(falcon.HTTP_415, f"The Content-Type must be {' or '.join(allowed)}.", "media_type")
    if not _UTF8.match(options.get("charset", "utf-8").strip('"')):
        raise ApiError(falcon.HTTP_415, "The body must be in UTF-8.", "media_type")
    if (encoding or "identity").lower() != "identity":
        raise ApiError(falcon.HTTP_415, "The body must not be compressed.", "media_type")
    return kind


async def read(req: Request, most: int, timeout: float) -> bytes:
    """Read the whole body, at most `most` bytes, within `timeout` seconds; keep it in the context for the request log.

    Raises the 413 or the 408.
    """
    length = req.content_length
    if length is not None and length > most:
        raise _too_large(most)
    if length is not None and is_body_buffered(req.scope):
        content: bytes = await req.stream.readall()
        req.context.body = content
        return content
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(timeout):
            async for chunk in req.stream:
                size += len(chunk)
                if size > most:
                    raise _too_large(most)
                chunks.append(chunk)
    except TimeoutError:
        raise ApiError(
            falcon.HTTP_408, "The body took too long to arrive.", "body_timeout", headers={"Connection": "close"}
        ) from None
    req.context.body = content = b"".join(chunks)
    return content


def _too_large(most: int) -> ApiError:
    # Closing the connection spares both sides the rest of the body.
    return ApiError(
        falcon.HTTP_413, f"The body is over {most} bytes.", "body_too_large", headers={"Connection": "close"}
    )


def decode(body: bytes) -> object:
    """Decode JSON, as schema.lead.codec does. When a key is given twice, the last value counts.

    Raises NotJson.
    """
    if not body.strip():
        raise NotJson("The body is empty.")
    try:
        return codec.decode(body)
    except orjson.JSONDecodeError as error:
        raise not_json(error.msg, error.lineno, error.colno) from None


def not_json(problem: str, line: int, column: int) -> NotJson:
    """Make the error for bytes that are not JSON, in orjson's words."""
    return NotJson(f"The body is not valid JSON: {problem}: line {line} column {column}.")


async def read_json(req: Request, timeout: float) -> object:
    """Read and decode a JSON body of at most BODY_MAX bytes.

    Raises the 400, 408, 413 or 415.
    """
    media_type(req, JSON)
    try:
        return decode(await read(req, BODY_MAX, timeout))
    except NotJson as error:
        raise invalid({"body": [str(error)]}, "bad_json") from None
