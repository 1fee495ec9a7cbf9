"""Digests of files, as the programs of hosts tell them."""

from __future__ import annotations

import subprocess

from hypothesis import example, given, settings
from hypothesis import strategies as st

from regisseur.actors._transfer_sums import Digest


@given(st.lists(st.binary(max_size=300), max_size=5))
@example([])
@example([bytes(70_000)])
@settings(max_examples=20)
def test_they_are_those_of_sha256sum_and_cksum(pieces: list[bytes]) -> None:
    digest = Digest()
    for piece in pieces:
        digest.update(piece)

    told = [
        subprocess.run([program], input=b"".join(pieces), capture_output=True, check=True).stdout.strip()
        for program in ("sha256sum", "cksum")
    ]
    assert [told[0].split()[0], told[1]] == list(digest.values())
