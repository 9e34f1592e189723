"""schema.runtime.histograms: a batch at once counts as each of it by itself."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram

from schema.runtime.histograms import ManyAtOnce

BOUNDS = (0.01, 0.1, 1.0)

# The bounds themselves among others: what equals one belongs to it.
amounts = st.lists(st.sampled_from(BOUNDS) | st.integers(0, 2000).map(lambda thousandths: thousandths / 1000))


def samples(histogram: Histogram) -> list[tuple[str, str, float]]:
    """Return name, bound and number of each bucket."""
    (found,) = histogram.collect()
    return [(each.name, each.labels["le"], each.value) for each in found.samples if "le" in each.labels]


@given(st.lists(amounts))
def test_many_at_once_are_counted_as_one_by_one(batches: list[list[float]]):
    many = ManyAtOnce("many", "Some.", buckets=BOUNDS, registry=CollectorRegistry())
    single = Histogram("many", "Some.", buckets=BOUNDS, registry=CollectorRegistry())

    for batch in batches:
        many.observe_all(batch)
        for amount in batch:
            single.observe(amount)

    assert samples(many) == samples(single)
    assert abs(many._sum.get() - single._sum.get()) < 1e-6
