"""The hosts of the benchmarks by ssh: addresses of the loopback interface, on which one private sshd listens."""

import os

PORT = os.environ["BENCH_SSH_PORT"]
USER = os.environ["BENCH_SSH_USER"]
KEY = os.environ["BENCH_SSH_KEY"]

OPTIONS = [
    "-o", "BatchMode=yes", "-o", "PasswordAuthentication=no", "-o", "StrictHostKeyChecking=no",
    "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=20", "-F", "none",
]  # fmt: skip


def hosts(count):
    return [f"127.0.0.{number + 1}" for number in range(count)]
