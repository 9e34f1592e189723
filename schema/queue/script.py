"""Lua scripts with named keys, arguments and constants: Python declares them and generates a preamble of locals.

A script's file has no preamble. `make lint` checks the script with it, so an undeclared name is an error.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import redis

from schema.settings.shards import WHOLE, Shard

Value = str | bytes | int
Constant = str | int | Sequence[int]


class Script:
    """A Lua script with its declared names.

    Keys, arguments and constants are Lua locals by the declared names. Unnamed arguments follow the
    named ones: FIRST_REST is the index in ARGV of the first.
    """

    def __init__(
        self,
        file: Path,
        *,
        keys: Mapping[str, str],
        arguments: Sequence[str] = (),
        constants: Mapping[str, Constant] | None = None,
    ) -> None:
        """Take the keys by name, in KEYS' order, the arguments' names, in ARGV's order, and the constants by name."""
        self.name = file.stem
        self._keys = tuple(keys.values())
        self.arguments = tuple(arguments)
        places = [f"local {name} = KEYS[{place}]" for place, name in enumerate(keys, 1)]
        places += [f"local {name} = ARGV[{place}]" for place, name in enumerate(arguments, 1)]
        values = {**(constants or {}), "FIRST_REST": len(arguments) + 1}
        text = file.read_text()
        # Only the constants that the script uses, so that no local is unused.
        places += [f"local {name} = {_literal(value)}" for name, value in values.items() if name in text]
        # A flags line must come first. The preamble has no line of its own, so that line numbers stay right.
        flags, text = text.split("\n", 1) if text.startswith("#!") else ("", text)
        self.source = f"{flags}\n{' '.join(places)} {text}" if flags else f"{' '.join(places)} {text}"

    def values(self, named: Mapping[str, Value]) -> list[Value]:
        """Return the named arguments in ARGV's order. Raises KeyError when one is missing."""
        return [named[name] for name in self.arguments]

    def keys(self, shard: Shard = WHOLE) -> tuple[str, ...]:
        """Return the names of the keys in a shard, in KEYS' order."""
        return tuple(map(shard.name, self._keys))

    def register(self, client: redis.Redis, shard: Shard = WHOLE) -> Callable[..., Any]:
        """Return a function that runs the script on a shard with named arguments, followed by `rest`.

        It raises RedisError, and TypeError for an undeclared argument.
        """
        script = client.register_script(self.source)
        keys = self.keys(shard)

        def run(*, rest: Sequence[Value] = (), **named: Value) -> Any:
            if unknown := named.keys() - set(self.arguments):
                raise TypeError(f"{self.name}.lua has no argument {', '.join(sorted(unknown))}")
            return script(keys=keys, args=[*self.values(named), *rest])

        return run


def _literal(value: Constant) -> str:
    if isinstance(value, str):
        return json.dumps(value)  # also a valid Lua literal for our names
    if isinstance(value, int):
        return str(value)
    return f"{{{', '.join(map(str, value))}}}"
