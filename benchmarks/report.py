"""What was measured, as a table for people and as plain data for JSON."""

from __future__ import annotations

import argparse
import os
import platform
from dataclasses import asdict
from statistics import median
from typing import Any

from . import timing
from .peers import Peer
from .timing import Schedule
from .workloads import Target, Workload


def load() -> list[float] | None:
    """How busy the machine is, where the system says so."""
    return [round(x, 2) for x in os.getloadavg()] if hasattr(os, "getloadavg") else None


def processor() -> str:
    """The processor's name."""
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def heading(
    sides: dict[str, Peer], missing: dict[str, str], schedule: Schedule, options: argparse.Namespace
) -> dict[str, Any]:
    """Where and how it was measured."""
    return {
        "python": platform.python_version(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "versions": {name: side.version() for name, side in sides.items()},
        "missing": missing,
        "repeats": options.repeats,
        "schedule": asdict(schedule),
        "collector": "off" if options.no_gc else "as Python has it",
        "numpy threads": "one and two" if timing.thread_control() else "its own setting (threadpoolctl is missing)",
        "wait policy": os.environ.get("OMP_WAIT_POLICY"),
        "load average before": load(),
    }


def introduction(head: dict[str, Any]) -> str:
    """The lines above the tables."""
    sides = [f"{name} {v}" if name != "ours" else f"ours ({v})" for name, v in head["versions"].items()]
    lines = [
        f"Python {head['python']}, {head['cores']} × {head['processor']}",
        ", ".join(sides + [f"{name}: {reason}" for name, reason in head["missing"].items()]),
        f"{head['repeats']} repeats, cyclic collector {head['collector']}, NumPy's threads: {head['numpy threads']}",
    ]
    return "\n".join(lines)


def _ratios(one: dict[str, Any], other: dict[str, Any]) -> dict[str, float]:
    return {
        "of medians": one["median"] / other["median"],
        "median of the repeats": median(a / b for a, b in zip(one["seconds"], other["seconds"])),
    }


def row(workload: Workload, measured: dict[str, Any]) -> dict[str, Any]:
    """A workload's figures with the ratios and the targets."""
    sides = measured["sides"]
    ours = sides["ours"]
    ratios = {name: _ratios(ours, side) for name, side in sides.items() if name != "ours"}
    wanted = list(workload.targets)
    if "torch" in ratios and not any(t.against == "torch" and t.side == "ours" for t in wanted):
        wanted.insert(0, Target(None, against="torch"))  # shown all the same
    targets = []
    for target in wanted:
        lowest = None
        if target.against is not None:
            one, other = sides.get(target.side), sides.get(target.against)
            what, pair = f"time / {target.against}", {}
            if one is not None and other is not None:
                pair = _ratios(one, other)
                lowest = min(one["seconds"]) / min(other["seconds"])
            value, repeated = pair.get("of medians"), pair.get("median of the repeats")
        elif target.figure == "first call":
            what, repeated = "seconds to the first result", None
            value = sides.get(target.side, {}).get("first call")
        else:
            what, value, repeated = str(target.figure), measured["figures"].get(target.figure), None
        met = None if value is None or target.limit is None else bool(value <= target.limit)
        targets.append(
            {"side": target.side, "what": what, "measured": value, "median of the repeats": repeated,
             "of the shortest": lowest, "at most": target.limit, "met": met}
        )  # fmt: skip
    measured = {k: v for k, v in measured.items() if k != "schedule"}
    return {"name": workload.name, "title": workload.title, **measured, "ratios": ratios, "targets": targets}


def duration(seconds: float) -> str:
    """Three digits and a unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size or unit == "µs":
            value = seconds / size
            return f"{value:.{max(0, 2 - len(str(int(value))) + 1)}f} {unit}"
    raise AssertionError


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}" if abs(value) < 100 else f"{value:.0f}"


def _table(rows: list[list[str]]) -> str:
    """Columns of text, the first one flush left."""
    widths = [max(len(line[i]) for line in rows) for i in range(len(rows[0]))]
    lines = []
    for line in rows:
        cells = [cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, widths))]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "─" * max(map(len, lines)))
    return "\n".join(lines)


def tables(rows: list[dict[str, Any]], names: list[str]) -> str:
    """Medians of every side, then what each workload should reach."""
    times = [["median time of a call", *names]]
    notes = []
    for r in rows:
        cells = []
        for name in names:
            side = r["sides"].get(name)
            mark = "" if side is None or name == "jax" else {1: "¹", 2: "²"}.get(side["threads"], "")
            cells.append(f"{duration(side['median'])}{mark}" if side else "–")
        times.append([r["title"], *cells])
        notes += [f"{r['name']}: {name} takes no part, {why}" for name, why in r["absent"].items()]
        for name, side in r["sides"].items():
            if "phases" in side:
                phases = ", ".join(f"{phase} {duration(t)}" for phase, t in side["phases"].items())
                notes.append(f"{r['name']}: {name} {phases}")
        for figure, value in r["figures"].items():
            if not any(t["what"] == figure for t in r["targets"]):
                notes.append(f"{r['name']}: ours {_number(value)} {figure}")
    reach = [["workload", "side", "figure", "measured", "by repeat", "of minima", "at most", "met"]]
    for r in rows:
        for t in r["targets"]:
            if t["measured"] is None and t["side"] != "ours":
                continue
            met = {True: "yes", False: "NO", None: "not measured" if t["measured"] is None else "–"}
            reach.append(
                [r["name"], t["side"], t["what"], _number(t["measured"]), _number(t["median of the repeats"]),
                 _number(t["of the shortest"]), _number(t["at most"]), met[t["met"]]]
            )  # fmt: skip
    makers = [name for name in names if any("first call" in r["sides"].get(name, {}) for r in rows)]
    first = [["first call, with the making of a program", *makers]]
    for r in rows:
        found = [r["sides"].get(name, {}).get("first call") for name in makers]
        if any(found):
            first.append([r["title"], *("–" if x is None else duration(x) for x in found)])
    parts = [
        _table(times),
        "¹ ² threads, the better of one and two. compiled, native: ad.compile; jax is jitted, numpy written by hand.",
        _table(first) if makers else "",
        "\n".join(notes),
        _table(reach),
        "measured: the ratio of the medians; by repeat: the median of the ratios in each repeat; of minima: that of "
        "the shortest blocks.",
    ]
    return "\n" + "\n\n".join(p for p in parts if p)
