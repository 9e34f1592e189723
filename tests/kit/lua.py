"""`python -m tests.kit.lua DIRECTORY`: writes each Lua script as Redis gets it, with its preamble, for luacheck."""

import importlib
import inspect
import sys
from pathlib import Path

from schema.queue.script import Script

ROOT = Path(__file__).parents[2]
SIDES = ("ingest_api", "schema", "workers")


def declared_beside(file: Path) -> dict[str, Script]:
    """Return the scripts that the Python modules in the script's directory declare, or make for a shard, by name."""
    found = {}
    for path in file.parent.glob("*.py"):
        if f'"{file.name}"' in path.read_text():
            module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
            declared = [each for each in vars(module).values() if isinstance(each, Script)]
            makers = [each for each in vars(module).values() if inspect.isfunction(each)]
            declared += [each() for each in makers if inspect.signature(each).return_annotation is Script]
            found |= {each.name: each for each in declared}
    return found


def main() -> int:
    """Write the scripts; return the exit status."""
    for file in sorted(file for side in SIDES for file in (ROOT / side).rglob("*.lua")):
        place = file.relative_to(ROOT)
        script = declared_beside(file).get(file.stem)
        if script is None:
            print(f"{place}: no module beside it declares it as a Script", file=sys.stderr)
            return 1
        target = Path(sys.argv[1]) / place
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(script.source)
    return 0


if __name__ == "__main__":
    sys.exit(main())
