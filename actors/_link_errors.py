"""What can go wrong between nodes, and how exceptions travel from one to the other.

::

    Exception
     +-- LinkError
     |    +-- PeerLostError      (pykka.ActorDeadError) the node is gone, or was never linked
     |    +-- LinkFullError      it is there, but behind: try again later
     |    +-- UnreachableError   no link could be made: nobody is there, or nobody answers
     |    +-- RefusedError       no link can be made: one of the two does not want it
     +-- RemoteError             an actor there raised something that has no class here

An actor's own exceptions arrive as what they are where both sides know the
class: the builtin ones, and those of this package and of pykka. All others
arrive as `RemoteError`. Nothing is imported, or built, on the word of a peer
but the classes of that fixed table.
"""

from __future__ import annotations

import builtins

import pykka

from ..protocols import errors as protocol_errors
from ..protocols.links import Failure
from ..protocols.plain import pack_plain
from .future import DeadlockError, FutureSetError, Timeout

__all__ = [
    "LinkError",
    "LinkFullError",
    "PeerLostError",
    "RefusedError",
    "RemoteError",
    "UnreachableError",
    "error_of",
    "failure_of",
]


class LinkError(Exception):
    """Something is wrong with the link to a node: *peer* names it, *reason* is what was seen."""

    verb = "can not be used"

    def __init__(self, peer: str, reason: str) -> None:
        super().__init__(peer, reason)
        self.peer = peer
        self.reason = reason

    def __str__(self) -> str:
        return f"node {self.peer} {self.verb}: {self.reason}"


class PeerLostError(LinkError, pykka.ActorDeadError):
    """The node is gone, or there never was a link to it. Whether it handled the last messages is not known."""

    verb = "is lost"


class LinkFullError(LinkError):
    """The node has not taken in what was sent to it before; nothing was sent."""

    verb = "is behind"


class UnreachableError(LinkError):
    """No link could be made."""

    verb = "can not be reached"


class RefusedError(LinkError):
    """One of the two nodes does not want the link: another version, another user, or the same node."""

    verb = "can not be linked"


class RemoteError(Exception):
    """An actor of another node raised an exception whose class is not known here.

    Args:
        type_name: name of that class.
        text: what ``str`` gave of it there.
        node: which node.
    """

    def __init__(self, type_name: str, text: str, node: str) -> None:
        super().__init__(type_name, text, node)
        self.type_name = type_name
        self.text = text
        self.node = node

    def __str__(self) -> str:
        return f"{self.type_name} in node {self.node}: {self.text}"


def _builtin_errors() -> dict[str, type[Exception]]:
    # Left out are those that steer loops and groups: raised out of a future they would be taken for something else.
    unwanted = (StopIteration, StopAsyncIteration, BaseExceptionGroup, Warning)
    return {
        name: cls
        for name, cls in vars(builtins).items()
        if isinstance(cls, type) and issubclass(cls, Exception) and not issubclass(cls, unwanted)
    }


_CLASSES: dict[str, type[Exception]] = {
    **_builtin_errors(),
    **{f"protocol.{name}": getattr(protocol_errors, name) for name in protocol_errors.__all__},
    "pykka.ActorDeadError": pykka.ActorDeadError,
    "pykka.Timeout": pykka.Timeout,
    "actors.DeadlockError": DeadlockError,
    "actors.FutureSetError": FutureSetError,
    "actors.Timeout": Timeout,
    "links.LinkFullError": LinkFullError,
    "links.PeerLostError": PeerLostError,
    "links.RemoteError": RemoteError,
}
_CODES: dict[type[BaseException], str] = {
    cls: code for code, cls in reversed(_CLASSES.items())
}  # IOError is OSError too: the first name counts


def failure_of(error: BaseException) -> Failure:
    """*error* as a message; never fails."""
    name = type(error).__qualname__
    try:
        text = str(error)
    except Exception:  # its author's __str__, which must not cost the asker the answer
        text = "(its text could not be made)"
    text = text.encode("utf-8", "backslashreplace").decode()  # a lone surrogate can not travel
    code = _CODES.get(type(error), "")
    if not code:
        return Failure(name, text)
    args = error.args
    if isinstance(error, OSError) and error.filename is not None and len(args) == 2:
        args = (*args, error.filename)  # kept apart from args, but wanted back as one of them
    try:
        pack_plain(args)
    except (TypeError, protocol_errors.ProtocolError):
        args = (text,)
    return Failure(name, text, code, args)


def error_of(failure: Failure, node: str) -> Exception:
    """The exception that *failure*, which came from *node*, stands for here."""
    cls = _CLASSES.get(failure.code)
    if cls is not None and type(failure.args) is tuple:
        try:
            error = cls(*failure.args)
            str(error)
        except Exception:  # arguments that this class can not be made of: a peer may send anything
            return RemoteError(failure.type_name, failure.text, node)
        error.add_note(f"raised in node {node}")
        return error
    return RemoteError(failure.type_name, failure.text, node)
