"""How the programs that measure TakTuk connect its nodes: by a program of this machine, or by ssh to its addresses."""

from pathlib import Path


def connector(way):
    """The words of the connector. *way*: "local" or "ssh"."""
    if way == "local":
        return [str(Path(__file__).with_name("taktuk_connector.sh"))]
    from ssh_targets import KEY, OPTIONS, PORT, USER

    return ["ssh", *OPTIONS, "-i", KEY, "-p", PORT, "-l", USER]


def hosts(way, count):
    """So many names, all of this machine."""
    if way == "local":
        return [f"host-{number}" for number in range(count)]
    from ssh_targets import hosts

    return hosts(count)
