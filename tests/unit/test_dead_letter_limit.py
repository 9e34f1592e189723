"""workers.store.dead_letter_limit: what many leads have in common is no lead's fault."""

import pytest

from workers.store.dead_letter_limit import SHARE_MIN, DeadLetterLimit, DeadLetterLimitReached


def test_a_few_bad_leads_in_a_batch_become_dead_letters():
    limit = DeadLetterLimit(0.1, 100)

    limit.check(["too long"] * 100, 1000)


def test_more_than_the_share_of_a_batch_for_one_reason_is_too_many():
    limit = DeadLetterLimit(0.1, 0)

    with pytest.raises(DeadLetterLimitReached, match=r"^101 of 1000 leads of a batch: too long$"):
        limit.check(["too long"] * 101, 1000)


def test_reasons_are_looked_at_one_by_one():
    limit = DeadLetterLimit(0.1, 0)

    limit.check(["too long"] * 100 + ["not JSON"] * 100, 1000)


def test_the_share_of_a_small_batch_says_nothing():
    limit = DeadLetterLimit(0.1, 0)

    limit.check(["too long"] * (SHARE_MIN - 1), SHARE_MIN - 1)
    with pytest.raises(DeadLetterLimitReached):
        limit.check(["too long"] * SHARE_MIN, SHARE_MIN)


def test_leads_in_a_row_are_counted_over_batches():
    limit = DeadLetterLimit(1, 3)
    for _ in range(3):
        limit.check(["too long"], 1)
        limit.record(["too long"], 1)

    with pytest.raises(DeadLetterLimitReached, match=r"^4 leads in a row: too long$"):
        limit.check(["too long"], 1)


@pytest.mark.parametrize(("reasons", "leads"), [([], 1), (["too long"], 2), (["not JSON"], 1), (["a", "b"], 2)])
def test_a_good_lead_or_another_reason_ends_the_row(reasons: list[str], leads: int):
    limit = DeadLetterLimit(1, 3)
    for _ in range(3):
        limit.record(["too long"], 1)

    limit.record(reasons, leads)

    limit.check(["too long"], 1)


def test_an_empty_batch_does_not_end_the_row():
    limit = DeadLetterLimit(1, 1)
    limit.record(["too long"], 1)

    limit.record([], 0)

    with pytest.raises(DeadLetterLimitReached):
        limit.check(["too long"], 1)


def test_both_bounds_can_be_turned_off():
    limit = DeadLetterLimit(1, 0)
    limit.record(["too long"] * 10_000, 10_000)

    limit.check(["too long"] * 10_000, 10_000)
