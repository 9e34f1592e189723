"""What the tests of counts by source share: two sources, and a span of all times."""

from schema.lead.source import SourceLimits

END = 1 << 40  # seconds since 1970, later than all

ACME, GLOBEX = SourceLimits("acme"), SourceLimits("globex")
