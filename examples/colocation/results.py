"""The rows that the colocation experiment measures, and what they say."""

import csv
import os
from statistics import mean

from rich.table import Table

KEY = ("repeat", "workload", "same_core", "other_cores")
COLUMNS = (*KEY, "operations_per_second")


class Results:
    """Rows in a CSV file; a kill at any moment loses none: each is appended at once, a torn last line is dropped."""

    def __init__(self, path):
        self.path = path
        if path.exists():
            whole = path.read_bytes()
            end = whole.rfind(b"\n") + 1
            if end < len(whole):
                os.truncate(path, end)
        if not path.exists() or not path.stat().st_size:
            path.write_text(",".join(COLUMNS) + "\n")
        self._known = {self._key(row) for row in self.rows()}

    @staticmethod
    def _key(row):
        return tuple(str(row[name]) for name in KEY)

    def __contains__(self, combination):
        return self._key(combination) in self._known

    def add(self, combination, rate):
        """Append the row of *combination*."""
        with open(self.path, "a") as file:
            file.write(",".join([*self._key(combination), f"{rate:.1f}"]) + "\n")
        self._known.add(self._key(combination))

    def rows(self):
        """All rows, with numbers as numbers."""
        with open(self.path, newline="") as file:
            return [
                {
                    "repeat": int(row["repeat"]),
                    "workload": row["workload"],
                    "same_core": int(row["same_core"]),
                    "other_cores": int(row["other_cores"]),
                    "operations_per_second": float(row["operations_per_second"]),
                }
                for row in csv.DictReader(file)
            ]


def relative_rates(rows):
    """``{workload: {(same core, other cores): rate in parts of the rate alone}}``, means over the repeats."""
    rates = {}
    for row in rows:
        place = (row["same_core"], row["other_cores"])
        rates.setdefault(row["workload"], {}).setdefault(place, []).append(row["operations_per_second"])
    relative = {}
    for workload, places in rates.items():
        alone = mean(places[0, 0]) if (0, 0) in places else None
        if alone:
            relative[workload] = {place: mean(values) / alone for place, values in sorted(places.items())}
    return relative


def table(rates):
    """A table of the relative rates: a row for the number on the same core, a column for the number on the others."""
    shown = Table(
        title="What is left to the probe, in parts of its rate alone",
        caption="n: processes on its core, itself included; columns: busy processes on the other cores",
    )
    others = sorted({other for places in rates.values() for _, other in places})
    shown.add_column("workload")
    for heading in ("n", "1/n", *(f"+{other}" for other in others)):
        shown.add_column(heading, justify="right")
    for workload, places in rates.items():
        for same in sorted({same for same, _ in places}):
            cells = [f"{places[same, other]:.2f}" if (same, other) in places else "" for other in others]
            shown.add_row(workload if same == 0 else "", str(same + 1), f"{1 / (same + 1):.2f}", *cells)
        shown.add_section()
    return shown


def summary(rates):
    """One sentence that compares the slowdown with 1/n."""
    shares = {}
    for places in rates.values():
        for (same, other), rate in places.items():
            if other == 0 and same > 0:
                shares.setdefault(same + 1, []).append(rate)
    if not shares:
        return "Nothing to compare: no combination with neighbours on the same core was measured."
    measured = ", ".join(f"{mean(values):.2f} (1/{n} = {1 / n:.2f})" for n, values in sorted(shares.items()))
    worst = max(abs(rate * n - 1) for n, values in shares.items() for rate in values)
    verdict = (
        "as if the core were simply divided"
        if worst < 0.1
        else f"by workload up to {100 * worst:.0f} % off a plain division"
    )
    across = [rate for places in rates.values() for (same, other), rate in places.items() if same == 0 and other > 0]
    cost = f"; busy other cores alone leave it {min(across):.2f} at worst" if across else ""
    counts = ", ".join(str(n) for n in sorted(shares))
    return (
        f"With n = {counts} processes on its core the probe keeps on average {measured} of its rate, {verdict}{cost}."
    )
