"""Messages to frames and back, for links.

Only plain data and registered message types leave the process; what does not
fit raises where it is sent. References to actors do travel inside of them: as
texts that stand for them, with a list of what they stand for (see `WithRefs`).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

import pykka
from pykka import messages

from ..protocols.envelope import Envelope, decode_message, seal
from ..protocols.errors import MalformedError, OversizedError
from ..protocols.links import Call, Data, GetAttribute, SetAttribute, StopActor, WithRefs
from ..protocols.message import message_type, type_of, types_by_class
from ._link_wire import BULK_LIMIT

__all__ = ["Parts", "pack_message", "unpack_message"]

Parts = tuple[bytes, ...]
"""The frames of one message: the envelope, and the bulk if it has one."""

_LEAVES = frozenset({int, float, bool, bytes, type(None)})
_MAX_DEPTH = 200  # of lists and dicts in which a reference is looked for, as for all plain data


def pack_message(
    message: Any,
    to: str,
    sender: str,
    correlation: int,
    cause: int,
    address_of: Callable[[pykka.ActorRef[Any]], str],
) -> Parts:
    """The frames of *message*.

    Args:
        address_of: gives the address under which a reference is valid elsewhere.

    Raises:
        TypeError: it holds something that can not leave this process.
        ProtocolError: it is too large or nested too deep.
    """
    known = types_by_class.get(type(message))
    if known is None:
        message = _as_registered(message)
    elif known.bulk:
        if len(message.bulk) > BULK_LIMIT:
            raise OversizedError(len(message.bulk), BULK_LIMIT)
        return seal(message, to, sender, correlation, cause), message.bulk
    try:
        return (seal(message, to, sender, correlation, cause),)
    except TypeError:
        with_refs = _without_refs(message, address_of)
        if with_refs is None:
            raise
    return (seal(with_refs, to, sender, correlation, cause),)


def _as_registered(message: Any) -> Any:
    if type(message) is messages.ProxyCall:
        return Call(tuple(message.attr_path), message.args, message.kwargs)
    if type(message) is messages.ProxyGetAttr:
        return GetAttribute(tuple(message.attr_path))
    if type(message) is messages.ProxySetAttr:
        return SetAttribute(tuple(message.attr_path), message.value)
    if type(message) is messages._ActorStop:  # pykka has no public name for it
        return StopActor()
    return Data(message)


def _without_refs(message: Any, address_of: Callable[[pykka.ActorRef[Any]], str]) -> WithRefs | None:
    """*message* with texts in place of its references; None if there are none."""
    prefix = f"\0ref-{secrets.token_hex(16)}-"
    refs: dict[str, str] = {}

    def swap(value: Any) -> Any:
        if not isinstance(value, pykka.ActorRef):
            return value
        text = f"{prefix}{len(refs)}"
        refs[text] = address_of(value)
        return text

    known = type_of(message)
    body = [_walk(value, swap, 0) for value in known.values(message)]
    return WithRefs(known.kind, body, refs) if refs else None


def unpack_message(envelope: Envelope, bulk: bytes | None, ref_for: Callable[[str], Any]) -> Any:
    """The message in *envelope*, which came from another node.

    Args:
        ref_for: gives the reference for an address.

    Raises:
        ProtocolError: whatever is wrong with it.
    """
    message = decode_message(envelope, bulk)
    if bulk is not None and not message_type(envelope.kind).bulk:
        raise MalformedError(f"a second frame behind a message of kind {envelope.kind!r}, which has none")
    if type(message) is not WithRefs:
        return message
    if type(message.body) is not list or message.kind == envelope.kind:
        raise MalformedError("a message with references that holds none")
    refs = {text: ref_for(address) for text, address in message.refs.items()}
    inner = decode_message(envelope._replace(kind=message.kind, body=message.body))
    return type(inner)(*[_walk(v, lambda t: refs.get(t, t), 0) for v in type_of(inner).values(inner)])


def _walk(value: Any, swap: Callable[[Any], Any], depth: int) -> Any:
    """A copy of plain data *value* in which each text, and each thing that is not plain, went through *swap*."""
    kind = type(value)
    if kind in _LEAVES:
        return value
    if kind not in (list, tuple, set, frozenset, dict):
        return swap(value)
    if depth > _MAX_DEPTH:
        raise MalformedError("nested too deep")
    if kind is dict:
        return {_walk(k, swap, depth + 1): _walk(v, swap, depth + 1) for k, v in value.items()}
    return kind(_walk(item, swap, depth + 1) for item in value)
