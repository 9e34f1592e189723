"""The group forgets processes that are gone, and never what they left pending."""

import pytest

from schema.queue import keys
from tests.integration.backends import Backend
from tests.integration.test_sweep import sweeper_of
from tests.integration.workers import Worker
from workers.upkeep import sweep


def consumers(backend: Backend) -> int:
    return len(backend.client.xinfo_consumers(keys.STREAM, keys.GROUP))


def test_a_process_that_is_gone_and_left_nothing_is_forgotten(backend: Backend, monkeypatch: pytest.MonkeyPatch):
    backend.accept(2)
    Worker(backend).run()
    assert consumers(backend) == 1
    monkeypatch.setattr(sweep, "CONSUMER_IDLE", -1)

    sweeper_of(backend).run()

    assert consumers(backend) == 0


def test_a_process_that_left_leads_is_remembered_with_them(backend: Backend, monkeypatch: pytest.MonkeyPatch):
    backend.accept(2)
    Worker(backend, claim_after=3600.0).consumer.claim_and_read(10)
    monkeypatch.setattr(sweep, "CONSUMER_IDLE", -1)

    sweeper_of(backend).run()

    assert consumers(backend) == 1
    assert backend.client.xpending(keys.STREAM, keys.GROUP)["pending"] == 2


def test_a_process_that_is_still_at_work_is_not_forgotten(backend: Backend):
    backend.accept(2)
    Worker(backend).run()

    sweeper_of(backend).run()

    assert consumers(backend) == 1


def test_there_is_nothing_to_forget_before_the_first_lead(backend: Backend):
    assert sweeper_of(backend).run() == {"keys": 0, "consumers": 0}
