"""docs/support.md: what it says was tested is what was tested."""

import json

from tests.kit.tested import PAGE, RECORD, SUPPORTED, page


def test_the_page_is_what_the_record_makes():
    assert PAGE.read_text() == page(json.loads(RECORD.read_text())), "run make docs"


def test_each_thing_that_is_supported_was_tested():
    entries = json.loads(RECORD.read_text())

    tested = {name for entry in entries for name in entry["versions"]}

    assert set(SUPPORTED) <= tested
    assert {entry["run"] for entry in entries} == {"make test", "make test-compose"}
