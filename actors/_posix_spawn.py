"""The C library's `posix_spawn`, reached through ctypes: how a child is made without forking Python.

`os.posix_spawn` can neither change the directory nor close the descriptors that others left inheritable, and
`subprocess` holds the interpreter lock while the child is set up. The C function does all three: the child borrows
the memory of the controller (as with vfork) until it executes, and the interpreter lock is free meanwhile.

`load()` gives a `NativeSpawn`, or None where the C library lacks something that is needed: glibc has all of it since
2.34 (`posix_spawn_file_actions_addclosefrom_np`), musl does not. `_spawn` then takes another way.

Owns: the prepared attributes (new session, empty signal mask, default signals), which every call shares read-only.
"""

from __future__ import annotations

import ctypes
import functools
import os
import signal

__all__ = ["Environment", "NativeSpawn", "load"]

# <spawn.h>, the same values in glibc and musl on every architecture.
_SETSIGDEF = 0x04
_SETSIGMASK = 0x08
_SETSID = 0x80

_OPAQUE = 1024
"""Bytes reserved for a structure of the C library whose size differs between platforms (at most 336 in glibc)."""

# What an ignored signal here must not do to a child: Python ignores the first two, `nohup`-like parents the others.
_DEFAULT_SIGNALS = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGQUIT)

_SYMBOLS = (
    "posix_spawn",
    "posix_spawnattr_init",
    "posix_spawnattr_setflags",
    "posix_spawnattr_setsigdefault",
    "posix_spawnattr_setsigmask",
    "posix_spawn_file_actions_addchdir_np",
    "posix_spawn_file_actions_addclosefrom_np",
    "posix_spawn_file_actions_adddup2",
    "posix_spawn_file_actions_addopen",
    "posix_spawn_file_actions_destroy",
    "posix_spawn_file_actions_init",
)


class Environment:
    """The environment of a child, encoded: `variables` as a dict of bytes, `block` as C wants it. Immutable."""

    __slots__ = ("block", "variables")

    def __init__(self, variables: dict[bytes, bytes]) -> None:
        self.variables = variables
        self.block = _strings([name + b"=" + value for name, value in variables.items()])


class NativeSpawn:
    """Starts children with `posix_spawn`. Thread-safe: each call has its own file actions."""

    __slots__ = ("_attributes", "_library")

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        self._attributes = _attributes(library)

    def __call__(
        self,
        path: bytes,
        argv: list[bytes],
        descriptors: tuple[int, int, int],
        environment: Environment,
        cwd: bytes | None,
        terminal: bytes | None,
    ) -> int:
        """Execute `path` with `argv` in a new session and return its pid.

        `descriptors` become 0, 1 and 2; with `terminal` only the third counts (-1: the terminal too), and none may
        be a number below 3 other than its own. Raises OSError with errno alone: the C library does not tell which
        step failed.
        """
        pid = ctypes.c_int()
        actions = _actions(descriptors, cwd, terminal)
        _check(
            self._library.posix_spawn(
                ctypes.byref(pid), path, actions.buffer, self._attributes, _strings(argv), environment.block
            )
        )
        return pid.value


class _Actions:
    """What the child does before it executes; it does it in this order, after setsid. Immutable: threads share it."""

    __slots__ = ("_library", "buffer")

    def __init__(self, descriptors: tuple[int, int, int], cwd: bytes | None, terminal: bytes | None) -> None:
        library = self._library = _quick()
        self.buffer = ctypes.create_string_buffer(_OPAQUE)
        _check(library.posix_spawn_file_actions_init(self.buffer))
        dup2 = library.posix_spawn_file_actions_adddup2
        stdin, stdout, stderr = descriptors
        if terminal is None:
            _check(dup2(self.buffer, stdin, 0) or dup2(self.buffer, stdout, 1))
        else:
            # A session leader without a terminal that opens one without O_NOCTTY makes it its controlling terminal.
            _check(library.posix_spawn_file_actions_addopen(self.buffer, 0, terminal, os.O_RDWR, 0))
            _check(dup2(self.buffer, 0, 1))
            stderr = 0 if stderr == -1 else stderr
        _check(dup2(self.buffer, stderr, 2) or library.posix_spawn_file_actions_addclosefrom_np(self.buffer, 3))
        if cwd is not None:
            _check(library.posix_spawn_file_actions_addchdir_np(self.buffer, cwd))

    def __del__(self) -> None:
        self._library.posix_spawn_file_actions_destroy(self.buffer)


# The same descriptors come back again and again, and to write them down anew takes a tenth of a start.
_actions = functools.lru_cache(maxsize=64)(_Actions)


@functools.cache
def load() -> NativeSpawn | None:
    """Return the way through the C library, or None where it lacks a function that is needed. Thread-safe."""
    try:
        # CDLL, not PyDLL: it lets go of the interpreter lock while the child is set up.
        library = ctypes.CDLL(None)
        _quick()
        for name in _SYMBOLS:
            getattr(library, name)
    except (OSError, AttributeError):
        return None
    string, pointer = ctypes.c_char_p, ctypes.c_void_p
    library.posix_spawnattr_setflags.argtypes = [pointer, ctypes.c_short]
    library.posix_spawn.argtypes = [pointer, string, pointer, pointer, pointer, pointer]
    return NativeSpawn(library)


@functools.cache
def _quick() -> ctypes.PyDLL:
    """The C library for calls that only write to memory: they keep the interpreter lock."""
    library = ctypes.PyDLL(None)
    integer, string, pointer = ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p
    library.posix_spawn_file_actions_adddup2.argtypes = [pointer, integer, integer]
    library.posix_spawn_file_actions_addopen.argtypes = [pointer, integer, string, integer, ctypes.c_uint]
    library.posix_spawn_file_actions_addclosefrom_np.argtypes = [pointer, integer]
    library.posix_spawn_file_actions_addchdir_np.argtypes = [pointer, string]
    return library


def _attributes(library: ctypes.CDLL) -> ctypes.Array[ctypes.c_char]:
    attributes = ctypes.create_string_buffer(_OPAQUE)
    signals = ctypes.create_string_buffer(_OPAQUE)
    _check(library.posix_spawnattr_init(attributes))
    _check(library.posix_spawnattr_setflags(attributes, _SETSID | _SETSIGDEF | _SETSIGMASK))
    library.sigemptyset(signals)
    _check(library.posix_spawnattr_setsigmask(attributes, signals))
    for number in _DEFAULT_SIGNALS:
        library.sigaddset(signals, int(number))
    _check(library.posix_spawnattr_setsigdefault(attributes, signals))
    return attributes


def _strings(values: list[bytes]) -> ctypes.Array[ctypes.c_char_p]:
    """Return a null-terminated array of C strings; it keeps `values` alive."""
    return (ctypes.c_char_p * (len(values) + 1))(*values, None)


def _check(error: int) -> None:
    if error:
        raise OSError(error, os.strerror(error))
