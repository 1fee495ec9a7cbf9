"""`spawn`: start one child process, fast, and never by forking Python.

Every child gets a session of its own, descriptors 0, 1 and 2 and no other (not even those that somebody marked
inheritable), an empty signal mask, and the default action for the signals that Python or a `nohup`-like parent
ignores. There is no preexec_fn: between the start and the new program no Python code runs.

Read on: `_spawn_one` (the search along PATH and the shell for scripts without "#!"), `_environment` (what is cached),
`_posix_spawn` (the fast way), `_spawn_by_subprocess` (the way on other C libraries than glibc >= 2.34).

Cost of the fast way, measured with /bin/true and three pipes on a shared two-core machine: 40 to 50 us of CPU in the
controller; 100 to 300 us pass meanwhile, with the interpreter lock free, until the child executes its program.
"""

from __future__ import annotations

import errno
import fcntl
import functools
import os
import signal
import stat
import subprocess
from collections.abc import Iterator, Mapping, Sequence

from ._posix_spawn import Environment, load

__all__ = ["spawn"]

_SHELL = b"/bin/sh"

_ELSEWHERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ESTALE, errno.ENODEV, errno.ETIMEDOUT})
"""Errors after which execvp looks into the next directory of PATH."""

_Cached = tuple[dict[bytes, bytes] | dict[str, str], dict[str, str], Environment]
_cache: dict[bool, _Cached] = {}
"""Last environment encoded, apart for os.environ (True) and for one that was given (False).

Thread-safe: an entry is an immutable tuple that is replaced as a whole; a lost update costs one more encoding."""


def spawn(
    argv: Sequence[str | bytes],
    *,
    stdin: int,
    stdout: int,
    stderr: int,
    env: Mapping[str, str] | None = None,
    extra_env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    terminal: str | None = None,
) -> int:
    """Start `argv` as the leader of a new session and return its pid, once it runs the new program. Thread-safe.

    `stdin`, `stdout` and `stderr` are descriptors of the caller, who keeps them and closes its copies. `env` is the
    whole environment (None: os.environ as it is now); `extra_env` is added to either. `cwd` is the directory that the
    child starts in, also for a relative `argv[0]`.

    With `terminal`, the path of the slave side of a pseudo terminal, that becomes the controlling terminal, stdin and
    stdout; `stdin` and `stdout` are then ignored, and `stderr` -1 means the terminal too.

    `argv[0]` without a slash is searched along the PATH of the child's environment as execvp does it; a script
    without "#!" is run by /bin/sh, as execvp does.

    Nobody waits for the child: the caller must reap the pid.

    Raises:
        OSError: it could not be started, and no child is left. `errno` tells why (ENOENT, EACCES, ENOTDIR, E2BIG,
            EAGAIN, EMFILE, ...) and `filename` what: the program, `cwd` or `terminal`. EINVAL: an empty command, a
            null byte somewhere, an impossible variable name, or text that can't be encoded.
        TypeError: `argv` is not a sequence of strings, or a variable is no string.
    """
    arguments = _arguments(argv)
    environment = _environment(env, extra_env)
    directory = None if cwd is None else _encode(cwd, "directory")
    tty = None if terminal is None else _encode(terminal, "terminal")
    descriptors = (stdin, stdout, stderr) if tty is None else (0, 1, stderr)
    borrowed: list[int] = []
    try:
        if min(descriptors) < 3:  # the rare case, kept off the fast path
            descriptors = _lift(descriptors, borrowed, tty is not None)
        return _spawn_one(arguments, descriptors, environment, directory, tty)
    finally:
        for descriptor in borrowed:
            os.close(descriptor)


# -- the program ------------------------------------------------------------------------------------------------------


def _spawn_one(
    argv: list[bytes],
    descriptors: tuple[int, int, int],
    environment: Environment,
    cwd: bytes | None,
    terminal: bytes | None,
) -> int:
    """Try the places where the program may be, in turn, as execvp does."""
    start = load() or _spawn_by_subprocess
    refused: OSError | None = None
    for path in _candidates(argv[0], environment, cwd):
        try:
            try:
                return start(path, argv, descriptors, environment, cwd, terminal)
            except OSError as error:
                if error.errno != errno.ENOEXEC:
                    raise
                return start(_SHELL, [_SHELL, path, *argv[1:]], descriptors, environment, cwd, terminal)
        except OSError as error:
            _blame_surroundings(error, cwd, terminal)
            if error.errno not in _ELSEWHERE:
                raise _failure(error.errno or errno.EIO, path) from None
            # A program that may not be executed says more than one that is not there.
            if refused is None or error.errno == errno.EACCES:
                refused = _failure(error.errno, path)
    if refused is None:
        _blame_surroundings(None, cwd, terminal)
        refused = _failure(errno.ENOENT, argv[0])
    raise refused


def _candidates(program: bytes, environment: Environment, cwd: bytes | None) -> Iterator[bytes]:
    """Yield where `program` may be.

    Results are not remembered: an access() for each directory costs under a microsecond, less than to find out
    whether a remembered place still is the first one. It saves the start (300 us) of a child that can't execute.
    """
    if not program:
        return
    if b"/" in program:
        yield program
        return
    paths = [prefix + program for prefix in _directories(environment.variables.get(b"PATH"))]
    inaccessible = []
    for path in paths:
        if os.access(_seen_from(cwd, path), os.X_OK):
            yield path
        else:
            inaccessible.append(path)
    # Nothing there could be executed. Let the kernel say what is wrong with a file that is there.
    for path in inaccessible:
        if os.path.lexists(_seen_from(cwd, path)):
            yield path


def _seen_from(cwd: bytes | None, path: bytes) -> bytes:
    return path if cwd is None else os.path.join(cwd, path)


@functools.lru_cache(maxsize=16)
def _directories(path: bytes | None) -> tuple[bytes, ...]:
    """Split a PATH into prefixes; an empty entry means the directory that the child starts in."""
    entries = os.fsencode(os.defpath) if path is None else path
    return tuple((entry or b".") + b"/" for entry in entries.split(b":"))


def _blame_surroundings(error: OSError | None, cwd: bytes | None, terminal: bytes | None) -> None:
    """Raise OSError naming `cwd` or `terminal` if one of these explains why nothing was started."""
    if cwd is not None:
        mode = os.stat(os.fsdecode(cwd)).st_mode  # raises an OSError which names cwd
        if not stat.S_ISDIR(mode):
            raise _failure(errno.ENOTDIR, cwd)
        if not os.access(cwd, os.X_OK):
            raise _failure(errno.EACCES, cwd)
    if terminal is not None:
        os.stat(os.fsdecode(terminal))
        if error is not None and error.errno in (errno.EIO, errno.ENXIO, errno.ENODEV):
            raise _failure(error.errno, terminal) from None


def _failure(number: int, name: bytes) -> OSError:
    return OSError(number, os.strerror(number), os.fsdecode(name))


# -- what the child is given ------------------------------------------------------------------------------------------


def _arguments(argv: Sequence[str | bytes]) -> list[bytes]:
    if isinstance(argv, str | bytes):
        raise TypeError(f"spawn takes a sequence of arguments, not one string: {argv!r}")
    if not argv:
        raise OSError(errno.EINVAL, "empty command")
    return [_encode(argument, "argument") for argument in argv]


def _encode(text: str | bytes, what: str) -> bytes:
    try:
        encoded = os.fsencode(text)
    except UnicodeEncodeError as error:
        raise OSError(errno.EINVAL, f"{what} can't be encoded ({error.reason})", ascii(text)) from None
    if b"\0" in encoded:  # C would silently take what stands before it
        raise OSError(errno.EINVAL, f"null byte in {what}", ascii(os.fsdecode(encoded)))
    return encoded


def _environment(env: Mapping[str, str] | None, extra: Mapping[str, str] | None) -> Environment:
    """Encode the environment of a child; the last one is kept, and used as long as its source compares equal.

    Comparing takes about 1 us for 40 variables, encoding 20 to 40. Compared is with a copy, for the source may change.
    """
    source = undecoded_environ() if env is None else env
    addition = extra if extra is not None else {}
    cached = _cache.get(env is None)
    if cached is not None and cached[0] == source and cached[1] == addition:
        return cached[2]
    copy = dict(source)
    pairs: list[tuple[str | bytes, str | bytes]] = [*copy.items(), *addition.items()]
    variables = {}
    for name, value in pairs:
        encoded = _encode(name, "name of a variable")
        if not encoded or b"=" in encoded:
            raise OSError(errno.EINVAL, "impossible name of an environment variable", ascii(name))
        variables[encoded] = _encode(value, "environment variable")
    environment = Environment(variables)
    _cache[env is None] = (copy, dict(addition), environment)
    return environment


def undecoded_environ() -> Mapping[bytes, bytes]:
    """Return os.environ undecoded.

    `_data` is what os.environ itself stores (bytes to bytes, CPython 3.11 to 3.14); the public views decode every
    variable at each look, which costs as much as to encode them all anew. Without it, we pay that.
    """
    data = getattr(os.environ, "_data", None)
    return data if isinstance(data, dict) else os.environb


def _lift(descriptors: tuple[int, int, int], borrowed: list[int], terminal: bool) -> tuple[int, int, int]:
    """Move descriptors 0 to 2 that go to another place upwards, lest one be overwritten before it is copied."""
    lifted = []
    for target, descriptor in enumerate(descriptors):
        if descriptor < 0 and not (terminal and target == 2):
            raise OSError(errno.EBADF, f"{descriptor} is no descriptor for the child's {target}")
        if 0 <= descriptor <= 2 and descriptor != target:
            descriptor = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)
            borrowed.append(descriptor)
        lifted.append(descriptor)
    return lifted[0], lifted[1], lifted[2]


# -- the slow way -----------------------------------------------------------------------------------------------------


def _spawn_by_subprocess(
    path: bytes,
    argv: list[bytes],
    descriptors: tuple[int, int, int],
    environment: Environment,
    cwd: bytes | None,
    terminal: bytes | None,
) -> int:
    """Do what `NativeSpawn` does by way of `subprocess`, where the C library has not all that is needed.

    Differs in this: SIGINT and SIGQUIT stay ignored in the child if they are ignored here; a terminal is opened by
    /bin/sh, which then executes the program, so that errors of execution end as its exit status 126 or 127.
    """
    stdin, stdout, stderr = descriptors
    if terminal is not None:
        # The shell leads the new session, so that opening the terminal makes it the controlling one.
        script = b'exec 0<>"$0" 1>&0' + (b" 2>&0" if stderr == -1 else b"") + b'; exec "$@"'
        path, argv = _SHELL, [_SHELL, b"-c", script, terminal, path, *argv[1:]]
        stdin = stdout = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        stderr = stdin if stderr == -1 else stderr
    mask = signal.pthread_sigmask(signal.SIG_SETMASK, ())  # a child inherits the mask of the thread that starts it
    try:
        child = subprocess.Popen(
            argv,
            executable=path,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=environment.variables,
            cwd=cwd,
            start_new_session=True,
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if terminal is not None:
            os.close(stdin)
    # The caller reaps the pid; a Popen object that believes the child alive would do so behind its back.
    child.returncode = 0
    return child.pid
