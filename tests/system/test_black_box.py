"""What makes these tests black box tests."""

import ast
from pathlib import Path

OURS = {"ingest_api", "workers", "schema", "compose", "loadtests"}


def test_these_tests_import_nothing_of_ours():
    for path in Path(__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]

            assert not OURS & {name.split(".")[0] for name in names}, path.name
