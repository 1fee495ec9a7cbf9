"""What hosts wrote, for the cases of gathering: (name, output) of each."""

KINDS = {
    "alike": lambda number, line: f"line {line} of what one host in seven writes like {number % 7}\n",
    "own": lambda number, line: f"line {line} of what node{number} says of itself\n",
    "other": lambda number, line: f"line {line} that nobody but host {number * 17} writes\n",
}


def outputs(hosts, lines, kind):
    """Return (name, text) of each host: in seven kinds, differing by the own name, or all different."""
    make = KINDS[kind]
    return [(f"node{number}", "".join(make(number, line) for line in range(lines))) for number in range(1, hosts + 1)]
