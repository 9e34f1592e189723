"""Applies each fault to a copy of the project, and runs the tests that should notice it: `make faults`."""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

from tests.faults.catalogue import ROOT, Fault, read_faults
from tests.integration.backends import BACKENDS

LEFT_OUT = shutil.ignore_patterns(".git", ".venv", ".servers", "var", "node_modules", "__pycache__", ".*_cache")

# Seconds for one test, and for all tests of one fault: a fault may make them wait for ever.
TEST_TIMEOUT = 60
RUN_TIMEOUT = 300

# Of pytest: a test failed. Anything else but 0 means that they could not be run.
TESTS_FAILED = 1


def main() -> int:
    """Return 0 when every fault is noticed, or listed as harmless and not noticed; else 1."""
    parser = argparse.ArgumentParser(prog="make faults ARGS=...", description=__doc__)
    parser.add_argument("--only", default="", help="faults whose ids contain one of these, separated by commas")
    parser.add_argument("--jobs", type=int, default=2, help="faults tried at the same time")
    parser.add_argument("--no-baseline", action="store_true", help="leave out the run without a fault")
    options = parser.parse_args()
    only = options.only.split(",")
    faults = [each for each in read_faults() if any(part in each.id for part in only)]
    copies: SimpleQueue[Path] = SimpleQueue()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="faults-") as directory, ThreadPoolExecutor(options.jobs) as threads:
        for number in range(options.jobs):
            copies.put(_copy(Path(directory) / str(number)))
        if not options.no_baseline and not _passes_without_faults(copies.get(), faults, copies):
            return 1
        unexpected = []
        for fault, verdict in zip(faults, threads.map(lambda fault: _verdict(fault, copies), faults), strict=True):
            print(f"{verdict:<12} {fault.id:<44} {fault.harmless or fault.harm}", flush=True)
            if verdict != ("harmless" if fault.harmless else "noticed"):
                unexpected.append(fault.id)
    print(f"{len(faults)} faults in {time.monotonic() - started:.0f} s, {len(unexpected)} not as they should be")
    for each in unexpected:
        print(f"  {each}")
    return 1 if unexpected else 0


def _passes_without_faults(copy: Path, faults: Iterable[Fault], copies: "SimpleQueue[Path]") -> bool:
    """Tell whether the named tests pass as the code is: else no failure says anything."""
    for backend in sorted({fault.backend for fault in faults}):
        named = sorted({test for fault in faults if fault.backend == backend for test in fault.tests})
        status, output = _run(copy, named, backend)
        if status != 0:
            print(f"Without a fault these tests do not pass on {backend}:\n{output}")
            return False
    copies.put(copy)
    return True


def _verdict(fault: Fault, copies: "SimpleQueue[Path]") -> str:
    copy = copies.get()
    try:
        with _applied(fault, copy):
            status, output = _run(copy, fault.tests, fault.backend)
    finally:
        copies.put(copy)
    if status == TESTS_FAILED:
        return "noticed"
    if status == 0:
        return "harmless" if fault.harmless else "NOT NOTICED"
    print(output)
    return "NOT RUN"


@contextmanager
def _applied(fault: Fault, copy: Path) -> Iterator[None]:
    file = copy / fault.file
    before = file.read_text()
    file.write_text(fault.applied_to(before))
    try:
        yield
    finally:
        file.write_text(before)


def _copy(directory: Path) -> Path:
    """Copy the project, as it is in the working tree."""
    shutil.copytree(ROOT, directory, ignore=LEFT_OUT)
    for name in (".venv", ".servers"):
        if (ROOT / name).exists():
            (directory / name).symlink_to((ROOT / name).resolve())
    return directory


def _run(copy: Path, tests: Iterable[str], backend: str) -> tuple[int, str]:
    """Run tests on one backend until the first failure; return pytest's exit status and its output."""
    others = " and ".join(f"not {each}" for each in BACKENDS if each != backend)
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-k", others, "--timeout", str(TEST_TIMEOUT)]
    command += ["-p", "no:cacheprovider", *tests]
    # Without bytecode: its age is told in whole seconds, so that of the file before could be taken for this one's.
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command, cwd=copy, env=environment, capture_output=True, text=True, timeout=RUN_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        return TESTS_FAILED, "they did not end"
    return done.returncode, done.stdout[-3000:] + done.stderr[-1000:]


if __name__ == "__main__":
    sys.exit(main())
