"""Compares figures over table sizes and numbers of processes: `make bench ARGS="--growth"`."""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROWS = (0, 1_000_000, 10_000_000)
PROCESSES = (1, 2, 4)

# The compared figures: section and name.
FIGURES = (
    ("accept", "ours, storing meanwhile, 32"),
    ("accept", "ours, workers stopped meanwhile, 32"),
    ("accept", "µs API, ours workers stopped meanwhile"),
    ("accept", "µs Redis, ours workers stopped meanwhile"),
    ("store", "ours"),
    ("store", "bare INSERTs"),
)


def run(options: argparse.Namespace) -> int:
    """Run accept and store for each size, each on new servers, and print the figures; return the exit status."""
    runs = [(f"{rows:,} rows", ["--rows", str(rows)]) for rows in ROWS]
    runs += [
        (f"{number} + {number} processes", ["--processes", str(number), "--workers", str(number)])
        for number in PROCESSES
    ]
    found: dict[str, dict[str, dict[str, float]]] = {}
    with tempfile.TemporaryDirectory(prefix="bench-growth-") as directory:
        for title, arguments in runs:
            print(f"\n== {title}", flush=True)
            path = Path(directory) / "figures.json"
            command = [sys.executable, "-m", "loadtests.bench", "--only", "accept,store", "--peers", ""]
            command += ["--database", options.database] if options.database else []
            shape = ["--rounds", str(options.rounds), "--seconds", str(options.seconds), "--leads", str(options.leads)]
            files = ["--json", str(path), "--chart", str(Path(directory) / "chart.png")]
            done = subprocess.run([*command, *shape, *files, *arguments], check=False)
            if done.returncode:
                return done.returncode
            found[title] = json.loads(path.read_text())
    _tell(found)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    target = options.json.with_name("growth.json")
    target.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n")
    print(f"\nFigures: {target}")
    return 0


def _tell(found: dict[str, dict[str, dict[str, float]]]) -> None:
    print("\nGrowth" + " " * 38 + "".join(f"{title:>20}" for title in found))
    for section, name in FIGURES:
        values = [found[title].get(section, {}).get(name, 0) for title in found]
        print(f"  {section + ': ' + name:<42}" + "".join(f"{value:>20,.1f}" for value in values))
