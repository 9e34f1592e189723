"""Measures ours, its peers and the machine's limits in one run: `make bench ARGS="--only accept,store"`."""

import argparse
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from loadtests.bench import accept, bulk, chart, filled, growth, lean, limits, report, store, streams, together
from loadtests.bench.bare import Bare
from loadtests.bench.bento import Bento, BentoQueue
from loadtests.bench.contenders import Contender, Ours
from loadtests.bench.figures import Findings
from loadtests.bench.peers import Batches, CannotInstall, Constant, Direct, Stock
from loadtests.bench.servers import bench_database
from loadtests.bench.traced import Traced, TracedByParent, TracedTenth
from loadtests.bench.wrk import BadAnswers
from tests.kit.databases import DATABASES
from tests.kit.servers import RedisServer

SECTIONS = ("accept", "streams", "bulk", "limits", "store", "together")


def main() -> int:
    """Return 0 when all that was answered is stored, 1 when not; with --strict also 1 when a bar is missed."""
    options = _options()
    findings = Findings()
    if options.growth:
        return growth.run(options)
    begun = time.monotonic()
    try:
        with ExitStack() as stack:
            _run(options, findings, stack)
    except BadAnswers as error:
        print(f"\nFAILED: {error}", file=sys.stderr)
        return 1
    chart.draw(findings, options.chart)
    report.closing(options, findings, time.monotonic() - begun)
    return int(options.strict and not all(bar.met for bar in findings.bars))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench ARGS=...", description=__doc__)
    parser.add_argument("--only", default=",".join(SECTIONS), help=f"sections: {', '.join(SECTIONS)}")
    parser.add_argument("--peers", default="stock,direct,batches,constant,bento,bento-queue")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2, help="length of a round")
    parser.add_argument("--hold", type=float, default=30, help="how long the highest rate is held, seconds")
    parser.add_argument("--leads", type=int, default=200_000, help="waiting leads to store")
    parser.add_argument("--processes", type=int, default=2, help="API processes of each contender")
    parser.add_argument("--workers", type=int, default=2, help="pool processes of ours' worker")
    parser.add_argument("--lean", type=int, default=0, help="measure memory with so many waiting leads, too")
    parser.add_argument("--rows", type=int, default=0, help="rows that are in the table beforehand")
    parser.add_argument(
        "--growth", action="store_true", help="run anew at 0, 1 and 10 million rows, and with 1, 2, 4 processes"
    )
    parser.add_argument("--database", choices=DATABASES, default="", help="MySQL where there is one, else MariaDB")
    parser.add_argument("--json", type=Path, default=Path("var/bench/bench.json"))
    parser.add_argument("--chart", type=Path, default=Path("var/bench/bench.png"))
    parser.add_argument("--strict", action="store_true", help="fail when a bar is missed")
    options = parser.parse_args()
    options.only = options.only.split(",")
    if unknown := set(options.only) - set(SECTIONS):
        parser.error(f"no such section: {', '.join(sorted(unknown))}")
    return options


def _run(options: argparse.Namespace, findings: Findings, stack: ExitStack) -> None:
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
    database = stack.enter_context(bench_database(options.database))
    queue = stack.enter_context(RedisServer())
    report.opening(options, findings, database, queue)
    ours = Ours(directory / "ours", database, queue, processes=options.processes, workers=options.workers)
    kinds: dict[str, type[Contender]] = {
        kind.name: kind
        for kind in (Stock, Direct, Batches, Constant, Bento, BentoQueue, Traced, TracedTenth, TracedByParent)
    }
    peers: list[Contender] = [
        kinds[name](directory / name, database, queue, processes=options.processes)
        for name in options.peers.split(",")
        if name
    ]
    contenders: list[Contender] = []
    for each in (ours, *peers):
        stack.callback(each.stop)
        try:
            each.start()
            contenders.append(each)
        except CannotInstall as error:
            findings.skipped.append(str(error))
            print(f"  SKIPPED: {error}", flush=True)
    report.contenders(contenders)
    bare = Bare(database)
    if options.rows:
        filled.fill(ours, bare, options.rows)
    stream_processors = [each for each in contenders if isinstance(each, Bento)]
    if "streams" in options.only:
        streams.measure([ours, *stream_processors], options, findings)
    for each in stream_processors:
        each.stop()
        contenders.remove(each)
    if "accept" in options.only:
        accept.measure(contenders, options, findings)
    stock = next((each for each in contenders if each.name == "stock"), None)
    for each in contenders[1:]:
        if each is not stock:
            each.stop()
    if "together" in options.only:
        together.measure(ours, stock, options, findings)
    if stock is not None:
        stock.stop()
    if "bulk" in options.only:
        bulk.measure(ours, options, findings)
    if "limits" in options.only:
        limits.measure(queue, bare, options, findings)
    if "store" in options.only:
        store.measure(ours, bare, options, findings)
    if options.lean:
        lean.measure(ours, options.lean - options.lean % 1000, findings)
    ours.drain()
    ours.check_counts()


if __name__ == "__main__":
    sys.exit(main())
