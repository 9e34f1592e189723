"""Lua scripts with named keys, arguments and constants: Python declares them, a preamble hands them to the script.

A script is a file of its own without the preamble. `make lint` checks it with the preamble, so that a name that is not
declared is an error there.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import redis

Value = str | bytes | int
Constant = str | int | Sequence[int]


class Script:
    """A script and what it may name.

    In Lua the keys are locals by their names in upper case, the constants too, and the arguments are locals
    by their names. Arguments without a name follow those: FIRST_REST is the place of the first in ARGV.
    """

    def __init__(
        self,
        file: Path,
        *,
        keys: Mapping[str, str],
        arguments: Sequence[str] = (),
        constants: Mapping[str, Constant] | None = None,
    ) -> None:
        """Take the names of the keys with the keys, in KEYS' order, those of the arguments, and the constants."""
        self.name = file.stem
        self.keys = tuple(keys.values())
        self.arguments = tuple(arguments)
        places = [f"local {name} = KEYS[{place}]" for place, name in enumerate(keys, 1)]
        places += [f"local {name} = ARGV[{place}]" for place, name in enumerate(arguments, 1)]
        values = {**(constants or {}), "FIRST_REST": len(arguments) + 1}
        text = file.read_text()
        # Only what the script names, so that nothing is declared in vain.
        places += [f"local {name} = {_literal(value)}" for name, value in values.items() if name in text]
        # Flags must stand first. The preamble is part of that line, or of the first, so that line numbers stay right.
        flags, text = text.split("\n", 1) if text.startswith("#!") else ("", text)
        self.source = f"{flags}\n{' '.join(places)} {text}" if flags else f"{' '.join(places)} {text}"

    def values(self, named: Mapping[str, Value]) -> list[Value]:
        """Return the named arguments in ARGV's order. Raises KeyError when one is missing."""
        return [named[name] for name in self.arguments]

    def register(self, client: redis.Redis) -> Callable[..., Any]:
        """Return a function that runs the script with its arguments by name, and `rest` behind them.

        It raises RedisError.
        """
        script = client.register_script(self.source)

        def run(*, rest: Sequence[Value] = (), **named: Value) -> Any:
            if unknown := named.keys() - set(self.arguments):
                raise TypeError(f"{self.name}.lua has no argument {', '.join(sorted(unknown))}")
            return script(keys=self.keys, args=[*self.values(named), *rest])

        return run


def _literal(value: Constant) -> str:
    if isinstance(value, str):
        return json.dumps(value)  # as Lua writes it, for the names that we use
    if isinstance(value, int):
        return str(value)
    return f"{{{', '.join(map(str, value))}}}"
