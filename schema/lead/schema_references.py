"""References within a JSON Schema: where they lead, and how large it is with all of them written out.

Finding errors takes time that grows with that size, and exponentially with the depth of a lead where a schema refers
to itself (docs/lab/2026-11-30-additional-data-schemas.md).
"""

from typing import Any, NamedTuple
from urllib.parse import unquote

# Most values of a schema with its references written out, and most levels of them.
EXPANDED_MAX = 10_000
LEVELS_MAX = 100

# Most characters of a reference that a refusal quotes.
REFERENCE_QUOTED_MAX = 200


class BadReferences(ValueError):
    """A schema refers to itself or to something outside, or is too large; the message says which."""


class _Extent(NamedTuple):
    """A part of a schema with its references written out."""

    values: int
    levels: int


# The extent of a part that is being measured: whoever comes back to it has gone in a circle.
_OPEN = _Extent(0, 0)


def check_references(schema: dict[str, Any]) -> None:
    """Check that a schema's references stay within it, in no circle, and within EXPANDED_MAX and LEVELS_MAX.

    Raises BadReferences.
    """
    try:
        extent = _Measure(schema).of(schema)
    except RecursionError:
        extent = _Extent(0, LEVELS_MAX + 1)
    if extent.levels > LEVELS_MAX:
        raise BadReferences(f"it has more than {LEVELS_MAX} levels")
    if extent.values > EXPANDED_MAX:
        raise BadReferences(f"it has more than {EXPANDED_MAX} values when its references are written out")


class _Measure:
    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root
        self._known: dict[int, _Extent] = {}  # by the id() of a part

    def of(self, part: Any) -> _Extent:
        """Return the extent of a part. Raises BadReferences, or RecursionError."""
        if not isinstance(part, dict | list):
            return _Extent(1, 1)
        known = self._known.get(id(part))
        if known is _OPEN:
            raise BadReferences("it refers to itself")
        if known is None:
            self._known[id(part)] = _OPEN
            inner = [self.of(each) for each in self._inside(part)]
            known = _Extent(1 + sum(each.values for each in inner), 1 + max((each.levels for each in inner), default=0))
            self._known[id(part)] = known
        return known

    def _inside(self, part: dict[str, Any] | list[Any]) -> list[Any]:
        """Return the values in a part and what it refers to."""
        if isinstance(part, list):
            return part
        if part is not self._root and isinstance(part.get("$id"), str):
            raise BadReferences("it has an $id within: only its root may have one")
        # A property may be called $ref, too: then it has no text but a schema.
        references = [part[word] for word in ("$ref", "$dynamicRef") if isinstance(part.get(word), str)]
        return [*part.values(), *map(self._target, references)]

    def _target(self, reference: str) -> Any:
        start, *names = reference.split("/")
        if start != "#":
            raise BadReferences(
                f"it refers to {reference[:REFERENCE_QUOTED_MAX]}: a reference should lead to a place in the schema "
                "itself, as #/$defs/name does"
            )
        target: Any = self._root
        for name in names:
            key = unquote(name).replace("~1", "/").replace("~0", "~")
            try:
                target = target[int(key)] if isinstance(target, list) else target[key]
            except (LookupError, TypeError, ValueError):
                raise BadReferences(f"it refers to {reference[:REFERENCE_QUOTED_MAX]}, which is not in it") from None
        return target
