"""Compares a run with its thresholds."""

import time

import httpx
from locust.env import Environment

from loadtests.shapes.plan import Plan, Verdict

# Longest time (seconds) until the last leads are in the list.
STORED_WITHIN = 60.0

PAGE = 100  # leads


def judge(
    plan: Plan, environment: Environment, accepted: list[str], phone: str, credentials: tuple[str, str]
) -> list[Verdict]:
    """Return a verdict for each threshold, and for the accepted leads in the list."""
    total = environment.stats.total
    wanted = plan.thresholds
    share = total.num_failures / max(total.num_requests, 1)
    p95, p99 = (total.get_response_time_percentile(part) or 0.0 for part in (0.95, 0.99))
    rate = total.num_requests / plan.seconds
    print(f"\n  Looking for {len(accepted)} leads in the list …", flush=True)
    missing, doubled = _missing(str(environment.host), accepted, phone, credentials)
    return [
        Verdict("error rate", f"{wanted.errors:.2%}", f"{share:.2%}", share <= wanted.errors),
        Verdict("p95", f"< {wanted.p95:.0f} ms", f"{p95:.0f} ms", p95 < wanted.p95),
        Verdict("p99", f"< {wanted.p99:.0f} ms", f"{p99:.0f} ms", p99 < wanted.p99),
        Verdict("requests/s", f"> {plan.rate * wanted.rate:.1f}", f"{rate:.1f}", rate > plan.rate * wanted.rate),
        Verdict("202s in the list", f"{len(accepted)}", f"{len(accepted) - missing}", not missing and bool(accepted)),
        Verdict("twice in the list", "0", f"{doubled}", not doubled),
    ]


def table(plan: Plan, environment: Environment, verdicts: list[Verdict]) -> str:
    """Format the verdicts as a table, with locust's errors."""
    total = environment.stats.total.num_requests
    lines = [f"{plan.name}: {total} requests in {plan.seconds:.0f} s", "", f"{'':22}{'wanted':>12} {'found':>12}"]
    for verdict in verdicts:
        tick = "✓" if verdict.passed else "✗"
        lines.append(f"{tick} {verdict.name:<20}{verdict.wanted:>12} {verdict.found:>12}")
    lines += [
        f"  {each.occurrences} x {each.method} {each.name}: {each.error}" for each in environment.stats.errors.values()
    ]
    return "".join(f"  {line}".rstrip() + "\n" for line in lines)


def _missing(host: str, accepted: list[str], phone: str, credentials: tuple[str, str]) -> tuple[int, int]:
    """Return how many accepted leads are not in the list after STORED_WITHIN, and how many leads are there twice."""
    deadline = time.monotonic() + STORED_WITHIN
    with httpx.Client(base_url=host, timeout=30) as http:
        email, password = credentials
        answer = http.post("/api/login_check", json={"email": email, "password": password})
        http.headers["Authorization"] = f"Bearer {answer.json()['token']}"
        while True:
            listed = _walk(http, phone)
            missing = len(set(accepted) - set(listed))
            if not missing or time.monotonic() > deadline:
                return missing, len(listed) - len(set(listed))
            time.sleep(0.5)


def _walk(http: httpx.Client, phone: str) -> list[str]:
    ids: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        place = {"cursor": cursor} if cursor else {}
        answer = http.get("/api/leads", params={"phone": phone, "limit": PAGE, **place})
        if answer.status_code == 429:
            time.sleep(float(answer.headers["Retry-After"]))
            continue
        answer.raise_for_status()
        data = answer.json()["data"]
        ids += [lead["id"] for lead in data["items"]]
        cursor = data["pagination"]["next_cursor"]
    return ids
