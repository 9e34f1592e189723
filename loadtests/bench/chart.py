"""The charts of the pages: leads accepted and leads stored per second. Legible on light and dark pages."""

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot

from loadtests.bench.accept import MAIN, STORING
from loadtests.bench.figures import Findings
from loadtests.bench.streams import ACCEPTED

OURS, OTHERS, LIMIT = "#2f81f7", "#8b949e", "#c9a227"
INK, PAPER = "#24292f", "#ffffff"

NAMES = {
    "ours": "Lead Ingest",
    "stock": "Falcon + task.delay()",
    "direct": "FastAPI + INSERT",
    "batches": "celery-batches",
    "bento": "Bento + INSERT",
    "bento-queue": "Bento + XADD",
    "constant": "limit: constant route",
    "bare INSERTs": "limit: bare INSERT loop",
    "LOAD DATA LOCAL, 2 connections (no counts)": "limit: LOAD DATA",
}


def draw(findings: Findings, path: Path) -> None:
    """Draw the panels that the run has figures for; write no file when there are none."""
    panels = _panels(findings.figures)
    if not panels:
        return
    heights = [len(bars) for _, bars in panels]
    figure, axes = pyplot.subplots(
        len(panels), 1, figsize=(8, 0.42 * sum(heights) + 0.75 * len(panels)), height_ratios=heights, squeeze=False
    )
    figure.patch.set_facecolor(PAPER)
    for axis, (title, bars) in zip(axes[:, 0], panels, strict=True):
        _panel(axis, title, bars)
    _save(figure, path)


def _panels(figures: dict[str, Any]) -> list[tuple[str, dict[str, float]]]:
    panels = []
    accept = figures.get("accept", {})
    found = {name: accept.get(f"{name}, {STORING}, {MAIN}") for name in NAMES}
    if any(found.values()):
        title = f"Leads accepted a second, {MAIN} connections, workers storing meanwhile"
        panels.append((title, {name: value for name, value in found.items() if value}))
    streams = figures.get("streams", {})
    found = {name: streams.get(f"{name}, {ACCEPTED}, {MAIN}") for name in NAMES}
    if any(found.values()):
        title = f"Leads accepted a second beside a stream processor, {MAIN} connections"
        panels.append((title, {name: value for name, value in found.items() if value}))
    together = figures.get("together", {})
    rates = {name: together.get(f"{name}, leads/s") for name in NAMES}
    if any(rates.values()):
        title = "Leads a second from POST to row, lasting"
        panels.append((title, {name: value for name, value in rates.items() if value}))
    if store := dict(figures.get("store", {})):
        loaded = "LOAD DATA LOCAL, 2 connections (no counts)"
        if loaded in figures.get("limits", {}):
            store[loaded] = figures["limits"][loaded]
        panels.append(("Waiting leads stored a second", store))
    return panels


def _panel(axis: Any, title: str, bars: dict[str, float]) -> None:
    labels = [NAMES[name] for name in bars]
    colours = [OURS if name == "ours" else LIMIT if NAMES[name].startswith("limit") else OTHERS for name in bars]
    drawn = axis.barh(labels, list(bars.values()), color=colours, height=0.66)
    axis.bar_label(drawn, labels=[f"{value:,.0f}" for value in bars.values()], padding=4, color=INK, fontsize=9)
    axis.set_title(title, loc="left", color=INK, fontsize=10, fontweight="bold")
    axis.invert_yaxis()
    axis.margins(x=0.12)
    _plain(axis)
    axis.tick_params(labelleft=True, labelbottom=False)


def draw_hosts(title: str, forms: dict[str, dict[int, tuple[float, float]]], path: Path) -> None:
    """Draw a panel for each form of the queue, of accepted and stored leads a second by number of hosts.

    A mark shows what as many times the fewest hosts would store.
    """
    highest = max(rate for points in forms.values() for rates in points.values() for rate in rates)
    figure, axes = pyplot.subplots(1, len(forms), figsize=(4.4 * len(forms), 3.4), sharey=True, squeeze=False)
    figure.patch.set_facecolor(PAPER)
    figure.suptitle(title, x=0.01, ha="left", color=INK, fontsize=10, fontweight="bold")
    for axis, (form, points) in zip(axes[0], forms.items(), strict=True):
        hosts = sorted(points)
        for side, (name, colour) in enumerate((("accepted", OTHERS), ("stored", OURS))):
            places = [each + (side - 0.5) * 0.42 for each in hosts]
            drawn = axis.bar(places, [points[each][side] for each in hosts], 0.4, color=colour, label=name)
            axis.bar_label(drawn, fmt="{:,.0f}", label_type="center", rotation=90, color=PAPER, fontsize=8)
        for each in hosts:
            rate = points[hosts[0]][1] / hosts[0] * each
            label = "as many times one host" if each == hosts[0] == 1 else None
            axis.plot([each - 0.45, each + 0.45], [rate, rate], color=LIMIT, linewidth=2, label=label)
        axis.set_title(form, loc="left", color=INK, fontsize=9)
        axis.set_xticks(hosts, [f"{each} host{'s' * (each > 1)}" for each in hosts])
        axis.set_ylim(0, highest * 1.2)
        _plain(axis)
    axes[0][0].legend(loc="upper left", frameon=False, labelcolor=INK, fontsize=8)
    _save(figure, path)


def _plain(axis: Any) -> None:
    axis.set_facecolor(PAPER)
    axis.tick_params(left=False, bottom=False, labelleft=False, colors=INK, labelsize=9)
    for spine in axis.spines.values():
        spine.set_visible(False)


def _save(figure: Any, path: Path) -> None:
    figure.tight_layout(h_pad=1.5)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=160, facecolor=PAPER)
    pyplot.close(figure)
    print(f"\nChart: {path}")
