"""The command line: ``python -m benchmarks`` measures, prints the tables and, if asked, writes the figures as JSON."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import NoReturn

USUAL = ("compiled", "native", "torch", "autograd", "mygrad", "jax", "numpy")
PEERS = (*USUAL, "torch.compile")


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"python -m benchmarks: {message} (see --help)\n")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options, checked."""
    parser = Parser(
        prog="python -m benchmarks",
        description="Time each workload on this engine, on its installed peers and on hand-written NumPy: one process, "
        "blocks of calls alternating between the sides, medians over the repeats, each side at the better of one and "
        "two threads. First all sides must agree on the result (exit status 1 if they do not).",
        epilog="Busy neighbours spoil the figures; the report gives the load. NumPy's threads are set by "
        "threadpoolctl, which comes with scikit-learn; without it NumPy keeps its own setting.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--only", action="append", metavar="NAME", help="only workloads whose name contains NAME (may be repeated)")
    add("--peers", metavar="LIST", help=f"peers to run, separated by commas; by default {','.join(USUAL)}; also "
        "torch.compile, which takes seconds to compile each workload")  # fmt: skip
    add("--repeats", type=int, metavar="N", help="how many blocks of each side are timed (15; 3 with --quick)")
    add("--quick", action="store_true", help="short blocks, a shorter long chain: to see that it works")
    add("--no-gc", action="store_true", help="switch Python's cyclic collector off while timing, as timeit does")
    add("--json", metavar="FILE", type=Path, help="write everything measured to FILE")
    add("--list", action="store_true", help="list the workloads and stop")
    options = parser.parse_args(arguments)

    # They bring NumPy, which must not come before `main` has set the environment.
    from . import curvature, networks, programs, workloads

    known = workloads.workloads(options.quick) + programs.workloads(options.quick)
    known += networks.workloads() + curvature.workloads()
    options.workloads = [w for w in known if not options.only or any(part in w.name for part in options.only)]
    names = ", ".join(w.name for w in known)
    for part in options.only or ():
        if not any(part in w.name for w in known):
            parser.error(f"--only {part}: no workload has that in its name; there are {names}")
    options.peers = USUAL if options.peers is None else tuple(p.strip() for p in options.peers.split(",") if p.strip())
    for peer in options.peers:
        if peer not in PEERS:
            parser.error(f"--peers {peer}: unknown; the peers are {', '.join(PEERS)}")
    if options.repeats is None:
        options.repeats = 3 if options.quick else 15
    if options.repeats < 1:
        parser.error(f"--repeats {options.repeats}: needs at least 1")
    if options.json is not None:
        try:
            options.json.open("a").close()
        except OSError as error:
            parser.error(f"--json {options.json}: cannot be written: {error.strerror}")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Measure and report; the exit status."""
    # Before NumPy, PyTorch or JAX is loaded, which read these once: threads that have no work sleep and do not spin
    # (they would take the time of whoever is measured next), and JAX has two threads, as the others may have.
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    os.environ["NPROC"] = "2"
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    options = parse(arguments)

    from . import peers, report, timing

    if options.list:
        for workload in options.workloads:
            print(f"{workload.name:32} {workload.title}")
        return 0
    sides, missing = peers.load(("ours", *options.peers))
    schedule = timing.QUICK if options.quick else timing.USUAL
    head = report.heading(sides, missing, schedule, options)
    print(report.introduction(head), flush=True)
    rows = []
    for workload in options.workloads:
        if sys.stderr.isatty():
            print(f"\r\033[K{workload.title} …", end="", file=sys.stderr, flush=True)
        try:
            rows.append(report.row(workload, timing.compare(workload, sides, options.repeats, schedule, options.no_gc)))
        except timing.Disagreement as error:
            print(f"\n{workload.name}: {error}", file=sys.stderr)
            return 1
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)
    head["load average after"] = report.load()
    print(report.tables(rows, list(sides)))
    print(f"\nload average: {head['load average before']} before, {head['load average after']} after")
    if options.json is not None:
        options.json.write_text(json.dumps({**head, "workloads": rows}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
