"""TransferError: what can go wrong with a transfer, beside its connection and the files of this machine."""

from __future__ import annotations

__all__ = ["TransferError"]


class TransferError(Exception):
    """Files did not get from or to *host*.

    Args:
        host: the host, as the user calls it.
        seen: what was seen, and of which file.
        advice: what the user may do.
    """

    def __init__(self, host: str, seen: str, advice: str) -> None:
        super().__init__(host, seen, advice)
        self.host = host
        self.seen = seen
        self.advice = advice

    def __str__(self) -> str:
        return f"{self.host}: {self.seen}. {self.advice}"
