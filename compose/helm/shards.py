"""`python -m compose.helm.shards`: writes the hash tags of shards for the chart; its templates cannot compute them."""

import json
import sys

from schema.settings.shards import SHARDS_MAX, tag_of


def tags() -> dict[str, list[str]]:
    """Return the tags of all shards by the number of shards."""
    return {str(shards): [tag_of(shard, shards) for shard in range(shards)] for shards in range(1, SHARDS_MAX + 1)}


def main() -> int:
    """Print them, a line for each number of shards."""
    lines = (f"  {json.dumps(number)}: {json.dumps(each)}" for number, each in tags().items())
    print("{\n" + ",\n".join(lines) + "\n}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
