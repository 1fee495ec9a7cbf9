"""The picture of the colocation experiment: a heat map for each workload."""

import matplotlib

matplotlib.use("Agg")  # a file is wanted, no window
from matplotlib import pyplot


def draw(rates, path):
    """Draw the relative *rates* (see results.relative_rates) into the PNG file *path*; returns *path*."""
    figure, axes = pyplot.subplots(1, len(rates), figsize=(4.2 * len(rates), 4.2), squeeze=False, layout="constrained")
    for axis, (workload, places) in zip(axes[0], rates.items(), strict=True):
        same = sorted({s for s, _ in places})
        other = sorted({o for _, o in places})
        grid = [[places.get((s, o), float("nan")) for o in other] for s in same]
        image = axis.imshow(grid, origin="lower", vmin=0, vmax=1, cmap="viridis", aspect="auto")
        for y, row in enumerate(grid):
            for x, value in enumerate(row):
                axis.text(x, y, f"{value:.2f}", ha="center", va="center", color="white" if value < 0.6 else "black")
        axis.set_title(workload)
        axis.set_xticks(range(len(other)), other)
        axis.set_yticks(range(len(same)), [f"{s + 1}\n(1/n = {1 / (s + 1):.2f})" for s in same])
        axis.set_xlabel("busy processes on the other cores")
    axes[0][0].set_ylabel("n processes on the probe's core")
    figure.colorbar(image, ax=axes[0].tolist(), label="operations a second, in parts of the rate alone")
    figure.suptitle("What sharing a core leaves to a process")
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
    return path
