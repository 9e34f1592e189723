"""Fills our queue through the API; the caller has stopped the workers."""

import itertools
from concurrent.futures import ThreadPoolExecutor

import httpx

from loadtests.bench import wrk
from loadtests.bench.contenders import Ours
from loadtests.bench.figures import new_tag
from loadtests.bench.wrk import BadAnswers

SIZE = 1000  # leads in a request
CLIENTS = 4


def fill(ours: Ours, number: int) -> str:
    """Send `number` leads (whole thousands) in bulk; return their tag.

    Raises BadAnswers.
    """
    tag = new_tag()
    headers = {"Authorization": f"Bearer {ours.token}", "Content-Type": "application/x-ndjson"}
    before, after = wrk.lead_around()
    starts = iter(range(0, number, SIZE))

    def send(_: int) -> int:
        accepted = 0
        with httpx.Client(timeout=60) as client:
            # The threads share one iterator, which yields each number once.
            for start in starts:
                body = "\n".join(f"{before}{tag}-{each:09d}{after}" for each in range(start, start + SIZE))
                answer = client.post(f"{ours.url}/api/leads/bulk", content=body, headers=headers)
                if answer.status_code != 202 or answer.json()["data"]["accepted"] != SIZE:
                    raise BadAnswers(f"bulk: {answer.status_code} {answer.text[:200]}")
                accepted += SIZE
        return accepted

    with ThreadPoolExecutor(CLIENTS) as pool:
        accepted = sum(pool.map(send, itertools.repeat(0, CLIENTS)))
    if accepted != number:
        raise BadAnswers(f"bulk: of {number} leads {accepted} were accepted")
    return tag
