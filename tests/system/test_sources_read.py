"""What sources read, and what is read by source: lists, exports and statistics, over the started service."""

import httpx
import pytest

from tests.kit.leads import a_lead, assert_error
from tests.kit.service import Service

from .sources import Source


def ids(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [each["id"] for each in answer.json()["data"]["items"]]


def test_a_source_reads_its_own_leads_alone(service: Service):
    # Given two sources that may read, with leads each
    first, second = (Source(service, "--role", "ingest", "--role", "read", "--role", "export") for _ in range(2))
    mine, others = first.accept(3), second.accept(2)
    service.wait_until_stored(*mine, *others)

    # Then each sees its own
    assert ids(first.get("/api/leads", sortOrder="ASC")) == mine
    assert first.get("/api/leads").json()["data"]["pagination"]["total"] == 3
    assert ids(first.get("/api/leads", source=first.name, sortOrder="ASC")) == mine
    assert first.get(f"/api/leads/{mine[0]}").status_code == 200
    assert_error(first.get(f"/api/leads/{others[0]}"), 404, "There is no lead with this id.")
    assert_error(first.get("/api/leads", source=second.name), 400, "Validation failed")
    assert_error(first.get("/api/leads/stats", source=second.name), 400, "Validation failed")
    assert_error(first.get("/api/leads/export", source=second.name), 400, "Validation failed")
    exported = first.get("/api/leads/export", format="ndjson").text.splitlines()
    assert len(exported) == 3
    assert all(f'"source":"{first.name}"' in line for line in exported)


def test_an_etag_of_one_source_is_none_for_another(service: Service):
    first, second = (Source(service, "--role", "ingest", "--role", "read") for _ in range(2))
    service.wait_until_stored(*first.accept(1))
    tag = first.get("/api/leads").headers["ETag"]

    answer = service.get("/api/leads", second.key, headers={"If-None-Match": tag})

    assert answer.status_code == 200
    assert ids(answer) == []


def test_a_cursor_of_one_source_is_none_for_another(service: Service):
    first, second = (Source(service, "--role", "ingest", "--role", "read") for _ in range(2))
    service.wait_until_stored(*first.accept(3))
    cursor = first.get("/api/leads", limit=1).json()["data"]["pagination"]["next_cursor"]

    assert_error(second.get("/api/leads", limit=1, cursor=cursor), 400, "Validation failed")
    assert len(ids(first.get("/api/leads", limit=2, cursor=cursor))) == 2


def test_a_queued_lead_of_another_source_is_not_found(tmp_path_factory: pytest.TempPathFactory):
    # Given a service without a worker
    with Service(tmp_path_factory.mktemp("queued")) as service:
        first, second = (Source(service, "--role", "ingest", "--role", "read") for _ in range(2))
        service.one("worker").suspend()
        [made] = first.accept()

        # Then a lead that waits is found by its own source alone
        assert first.get(f"/api/leads/{made}").json()["data"]["state"] == "queued"
        assert_error(second.get(f"/api/leads/{made}"), 404, "There is no lead with this id.")


def test_users_filter_by_source_in_every_order(service: Service):
    # Given leads of a source among those of others
    source = Source(service)
    names = ["Carl", "Ada", "Bob"]
    made = [source.post(a_lead(firstName=name)).json()["data"]["id"] for name in names]
    others = service.accept(a_lead(), a_lead())
    service.wait_until_stored(*made, *others)

    # Then lists hold them alone, with their number, in each order, by page and by cursor
    assert [each["id"] for each in service.walk(source=source.name, sortOrder="ASC")] == made
    assert [each["id"] for each in service.walk(source=source.name)] == made[::-1]
    by_name = service.page(source=source.name, sortBy="firstName", sortOrder="ASC")
    assert [each["firstName"] for each in by_name["items"]] == sorted(names)
    second = service.page(source=source.name, page=2, limit=2, sortOrder="ASC")
    assert ([each["id"] for each in second["items"]], second["pagination"]["total"]) == ([made[2]], 3)
    assert service.page(source=source.name, page=9)["items"] == []
    assert service.page(source="nobody")["pagination"]["total"] == 0
    # And other filters narrow them further
    lead = service.lead(made[0])
    assert service.page(source=source.name, email=lead["email"])["pagination"]["total"] == 1
    assert service.page(source="nobody", email=lead["email"])["pagination"]["total"] == 0
    day = lead["createdAt"][:10]
    assert service.page(source=source.name, createdFrom=day)["pagination"]["total"] == 3
    assert service.page(source=source.name, createdTo="2020-01-01")["pagination"]["total"] == 0


def test_a_source_name_that_none_can_have_is_a_400(service: Service):
    for path in ("/api/leads", "/api/leads/stats", "/api/leads/export"):
        answer = service.get(path, params={"source": "No Source"})
        assert_error(answer, 400, "Validation failed")
        assert answer.json()["errors"]["source"] == ["This value is no source's name."]


def test_statistics_by_source_count_what_it_sent(service: Service):
    source = Source(service, "--role", "ingest", "--role", "read")
    service.wait_until_stored(*source.accept(4), *service.accept(a_lead()))

    for interval in ("hour", "day"):
        found = service.get("/api/leads/stats", params={"source": source.name, "interval": interval}).json()["data"]
        assert (found["accepted"], found["stored"], found["source"]) == (4, 4, source.name)
        assert sum(each["stored"] for each in found["items"]) == 4
    assert source.get("/api/leads/stats").json()["data"]["accepted"] == 4
    answer = source.get("/api/leads/stats", interval="minute")
    assert_error(answer, 400, "Validation failed")
    assert answer.json()["errors"]["interval"] == ["By source there are hours and days."]


def test_the_csv_names_the_source(service: Service):
    source = Source(service)
    service.wait_until_stored(*source.accept(1))

    header, *rows = service.get("/api/leads/export", params={"source": source.name}).text.splitlines()

    assert header.endswith(",source,consent,duplicateOf")
    assert [row.split(",")[-3:] for row in rows] == [[source.name, "", ""]]
