"""Draws the bench's latencies, one row a case."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

_BIN_MS = 0.5


def draw(times_ms: dict[str, list[float]], path: Path) -> None:
    """Write a PNG with a histogram of each case's times, all on the same axis."""
    longest = max(max(times) for times in times_ms.values())
    bins = [_BIN_MS * i for i in range(int(longest / _BIN_MS) + 3)]
    figure, rows = plt.subplots(
        len(times_ms), 1, sharex=True, figsize=(9, 1.1 * len(times_ms) + 1), squeeze=False
    )
    for axes, (name, times) in zip(rows[:, 0], times_ms.items()):
        axes.hist(times, bins=bins, color="#3b6ea5")
        axes.axvline(sorted(times)[len(times) // 2], color="#c0392b", linewidth=1.2)
        axes.set_ylabel(f"{name}\nn = {len(times)}", rotation=0, ha="right", va="center")
        axes.set_yticks([])
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
    rows[-1, 0].set_xlabel("ms of simulated time (red: median)")
    rows[0, 0].set_title("Badge in the field to strike edge, and the rest of the bench")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
