"""Prometheus's histograms, for what is observed by the thousand."""

from bisect import bisect_right
from collections.abc import Sequence

from prometheus_client import Histogram


class ManyAtOnce(Histogram):
    """A histogram that takes a whole batch in one go, at a fraction of what each costs by itself."""

    def observe_all(self, amounts: Sequence[float]) -> None:
        """Observe each amount."""
        ordered = sorted(amounts)
        self._sum.inc(sum(ordered))
        below = 0
        for bucket, bound in zip(self._buckets, self._upper_bounds, strict=True):
            upto = bisect_right(ordered, bound, below)
            if upto > below:
                bucket.inc(upto - below)
            below = upto
