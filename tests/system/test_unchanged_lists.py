"""ETag, If-None-Match and Link: a list that did not change is not sent again, and one that did always is."""

import re

import pytest

from tests.kit.leads import a_lead
from tests.kit.service import Service

LISTS = ["", "?page=2&limit=1", "?sortBy=email&sortOrder=ASC", "?email=nobody@example.com", "?createdFrom=2020-01-01"]


@pytest.mark.parametrize("query", LISTS)
def test_an_unchanged_list_is_304_and_a_changed_one_200(service: Service, query: str):
    service.wait_until_stored(*service.accept(a_lead(), a_lead()))
    service.wait_until_nothing_waits()
    first = service.get(f"/api/leads{query}")
    tag = first.headers["ETag"]
    assert first.headers["Cache-Control"] == "private, no-cache"

    again = service.get(f"/api/leads{query}", headers={"If-None-Match": f'"other", {tag}'})
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)
    assert service.get(f"/api/leads{query}").headers["ETag"] == tag

    # From the moment that a lead is stored
    service.wait_until_stored(*service.accept(a_lead()))
    changed = service.get(f"/api/leads{query}", headers={"If-None-Match": tag})
    assert changed.status_code == 200
    assert changed.headers["ETag"] != tag


def test_each_page_and_sort_has_a_tag_of_its_own(service: Service):
    service.wait_until_stored(*service.accept(a_lead(), a_lead()))
    service.wait_until_nothing_waits()
    tags = [service.get(f"/api/leads{query}").headers["ETag"] for query in LISTS]

    assert len(set(tags)) == len(LISTS)
    other = service.get("/api/leads?page=2&limit=1", headers={"If-None-Match": tags[0]})
    assert other.status_code == 200


def test_a_304_needs_a_token_and_right_parameters_too(service: Service):
    tag = service.get("/api/leads").headers["ETag"]

    assert service.get("/api/leads", token=None, headers={"If-None-Match": tag}).status_code == 401
    assert service.get("/api/leads?limit=0", headers={"If-None-Match": tag}).status_code == 400


def links(service: Service, path: str) -> dict[str, str]:
    header = service.get(path).headers["Link"]
    return {name: target for target, name in re.findall(r'<([^>]+)>; rel="(\w+)"', header)}


def test_links_lead_through_the_list(service: Service):
    service.wait_until_stored(*service.accept(*[a_lead(lastName="Link & Co") for _ in range(5)]))
    service.wait_until_nothing_waits()
    pages = service.page(limit=2)["pagination"]["total_pages"]

    first = links(service, "/api/leads?limit=2&sortBy=lastName")
    assert first.keys() == {"first", "next", "last"}
    second = links(service, first["next"])
    assert second.keys() == ({"first", "prev", "next", "last"} if pages > 2 else {"first", "prev", "last"})
    assert service.get(second["prev"]).json() | {"data": None} == service.get(first["first"]).json() | {"data": None}
    assert links(service, first["last"]).keys() == {"first", "prev", "last"}
    assert service.get(first["last"]).json()["data"]["pagination"]["page"] == pages

    cursor = service.page(limit=2)["pagination"]["next_cursor"]
    by_cursor = links(service, f"/api/leads?limit=2&cursor={cursor}")
    assert "first" in by_cursor
    assert service.get(by_cursor["first"]).status_code == 200
