"""Python processes by fork, from a server that has imported the libraries they need.

A fresh `churnops run` spends three to six seconds of a core on imports before it does anything, and the tests start
hundreds of processes. A `Forked` process is a fork of a server that has these imports behind it. Everything else is as
`subprocess` has it: arguments, folder, environment, umask, standard streams, session, signals and exit code. Variables
that Python or a library reads once, at its start, choose the server: it has started with the same ones.

Tests of imports, start-up, memory or limits need a fresh interpreter instead (`run_fresh` in `processes.py`).
"""

import atexit
import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

COMMANDS: Final = (
    "alembic.command",
    "churnops.evaluation.plots",
    "churnops.pipelines.run_all",
    "churnops.pipelines.run_monitoring",
    "churnops.progress",
    "churnops.screens",
    "git",
    "matplotlib.backends.backend_svg",
    "matplotlib.pyplot",
    "mlflow.pyfunc",
    "mlflow.store.model_registry.sqlalchemy_store",
    "mlflow.store.tracking.sqlalchemy_store",
    "pyarrow.csv",
)
SERVICE: Final = ("churnops.api.main", "churnops.api.server")
ONE_THREAD: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "POLARS_MAX_THREADS")
POSSIBLE: Final = hasattr(os, "pidfd_open")
"""Whether the system has what a server needs, as Linux does."""

AT_START: Final = (
    *(
        "PYTHONCOERCE",
        "PYTHONDONT",
        "PYTHONHASH",
        "PYTHONHOME",
        "PYTHONPATH",
        "PYTHONUNBUF",
        "PYTHONUTF8",
        "PYTHONWARN",
    ),
    *("LC_", "LANG", "OMP_", "OPENBLAS_", "MKL_", "NUMBA_", "POLARS_", "PROMETHEUS_", "MPL", "GIT_"),
)
"""Prefixes of variables that are read when Python starts or a library is imported."""


class Forked(subprocess.Popen[Any]):
    """A Python process. The first argument is the interpreter or a script for it."""

    def _execute_child(
        self,
        args: Sequence[str | Path],
        executable: None,
        preexec_fn: None,
        close_fds: bool,
        pass_fds: Sequence[int],
        cwd: str | Path | None,
        env: Mapping[str, str] | None,
        startupinfo: None,
        creationflags: int,
        shell: bool,
        *more: Any,
    ) -> None:
        """Let a server fork the process, and send it the streams."""
        *descriptors, _restore_signals, gid, gids, uid, umask, start_new_session, process_group = more
        special = (executable, preexec_fn, startupinfo, gid, gids, uid)
        if any(argument is not None for argument in special) or pass_fds or shell or umask != -1 or process_group != -1:
            raise ValueError("needs a process of `subprocess`")
        environment = dict(os.environ if env is None else env)
        arguments = [os.fspath(argument) for argument in args]
        request = {
            "arguments": [_letters(argument) for argument in arguments],
            "cwd": _letters(os.path.abspath(cwd or ".")),  # noqa: PTH100  (a name need not be UTF-8)
            "environment": {_letters(name): _letters(value) for name, value in environment.items()},
            "umask": _umask(),
            "session": start_new_session,
        }
        stdin, _, _, stdout, _, stderr = descriptors
        streams = [number if given == -1 else given for number, given in enumerate((stdin, stdout, stderr))]
        self._status, answer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with answer:
                control = _server(arguments, environment)
                socket.send_fds(control, [json.dumps(request).encode()], [*streams, answer.fileno()])
            self.pid = int(self._status.recv(64))
            self._child_created = True
        finally:
            self._close_pipe_fds(*descriptors)

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        try:
            status = self._status.recv(64, socket.MSG_DONTWAIT if wait_flags else 0)
        except BlockingIOError:
            return 0, 0
        self._status.close()
        return self.pid, int(status)

    def _internal_poll(self, *_: object, **__: object) -> int | None:
        if self.returncode is None and self._waitpid_lock.acquire(blocking=False):
            try:
                if self.returncode is None:
                    pid, status = self._try_wait(os.WNOHANG)
                    if pid == self.pid:
                        self._handle_exitstatus(status)
            finally:
                self._waitpid_lock.release()
        return self.returncode


def _letters(text: str) -> str:
    """Return a text's bytes as the system has them, one letter each: a server's encoding may differ."""
    return os.fsencode(text).decode("latin-1")


def _text(letters: str) -> str:
    return os.fsdecode(letters.encode("latin-1"))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


_servers: dict[tuple[str, ...], tuple[socket.socket, "subprocess.Popen[bytes]"]] = {}


def _server(arguments: Sequence[str], environment: Mapping[str, str]) -> socket.socket:
    """Return the connection to the server of such processes, and start the server before the first."""
    service = "serve" in arguments or any("churnops.api" in argument for argument in arguments)
    modules = SERVICE if service else COMMANDS
    variables = {name: value for name, value in environment.items() if name.startswith(AT_START)}
    if service:
        variables = dict.fromkeys(ONE_THREAD, "1") | variables
    key = (*modules, *(f"{name}={value}" for name, value in sorted(variables.items())))
    if key not in _servers:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        others = {name: value for name, value in os.environ.items() if not name.startswith(AT_START)}
        with theirs:
            command = (sys.executable, __file__, str(theirs.fileno()), *modules)
            process = subprocess.Popen(command, env=others | variables, pass_fds=[theirs.fileno()])
        _servers[key] = ours, process
    return _servers[key][0]


@atexit.register
def _stop() -> None:
    for control, process in _servers.values():
        control.close()
        process.wait()


def _serve(control: socket.socket, modules: Sequence[str]) -> dict[str, Any]:
    """Fork a process for each request until the connection ends. Only forked processes return, with their request."""
    import gc
    import importlib
    import selectors

    for module in modules:
        importlib.import_module(module)
    if "mlflow.pyfunc" in modules:
        _read_packages()
    gc.collect()
    gc.freeze()
    selector = selectors.DefaultSelector()
    selector.register(control, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is not control:
                descriptor, (pid, answer) = key.fd, key.data
                selector.unregister(descriptor)
                os.close(descriptor)
                _send(answer, os.waitpid(pid, 0)[1])
                answer.close()
                continue
            message, descriptors, *_ = socket.recv_fds(control, 2**20, 4)
            if not message:
                os._exit(0)
            *streams, answer_descriptor = descriptors
            answer = socket.socket(fileno=answer_descriptor)
            pid = os.fork()
            if pid == 0:
                others = [k for k in selector.get_map().values() if k.fileobj is not control]
                selector.close()
                for other in others:
                    os.close(other.fd)
                    other.data[1].close()
                control.close()
                answer.close()
                for number, stream in enumerate(streams):
                    os.dup2(stream, number)
                    os.close(stream)
                return json.loads(message)
            for stream in streams:
                os.close(stream)
            _send(answer, pid)
            selector.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, answer))


def _read_packages() -> None:
    """Read the list of installed packages, as each process that logs a model would; no thread remains."""
    from mlflow.utils.requirements_utils import _check_requirement_satisfied
    from sqlalchemy.orm import configure_mappers

    from churnops.tracking.environment import requirements

    requirements()
    _check_requirement_satisfied("mlflow")
    configure_mappers()


def _send(answer: socket.socket, number: int) -> None:
    with contextlib.suppress(OSError):  # the test is gone
        answer.send(str(number).encode())


def _become(request: Mapping[str, Any]) -> list[str]:
    """Set folder, environment and streams as a starting interpreter does; return the arguments."""
    import tempfile
    import time

    if request["session"]:
        os.setsid()
    os.chdir(_text(request["cwd"]))
    os.umask(request["umask"])
    os.environ.clear()
    os.environ.update((_text(name), _text(value)) for name, value in request["environment"].items())
    time.tzset()
    tempfile.tempdir = None
    encoding, _, errors = os.environ.get("PYTHONIOENCODING", "").partition(":")
    default = (encoding, errors or "strict") if encoding else (sys.stdout.encoding, errors or sys.stdout.errors)
    sys.stdin = sys.__stdin__ = _stream(0, "r", *default)
    sys.stdout = sys.__stdout__ = _stream(1, "w", *default)
    sys.stderr = sys.__stderr__ = _stream(2, "w", default[0], "backslashreplace")
    return [_text(argument) for argument in request["arguments"]]


def _stream(descriptor: int, mode: str, encoding: str, errors: str) -> Any:
    import codecs
    import io

    unbuffered = sys.stdout.write_through  # PYTHONUNBUFFERED
    buffering = 0 if unbuffered and mode == "w" else -1
    raw = open(descriptor, f"{mode}b", buffering, closefd=False)  # noqa: SIM115  (open until the process ends)
    lines = not unbuffered and (descriptor == 2 or os.isatty(descriptor))
    newline = "\n" if mode == "w" else None
    return io.TextIOWrapper(raw, codecs.lookup(encoding).name, errors, newline, lines, unbuffered)


def _execute(arguments: Sequence[str]) -> None:
    """Execute `-c PROGRAM`, `-m MODULE` or a script, each with its arguments, as `python ARGUMENTS` does."""
    import runpy
    import types

    if arguments[0] == "-c":
        sys.argv[:] = ["-c", *arguments[2:]]
        sys.path.insert(0, "")
        sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(arguments[1], "<string>", "exec"), vars(sys.modules["__main__"]))
    elif arguments[0] == "-m":
        sys.argv[:] = arguments[1:]
        sys.path.insert(0, os.getcwd())  # noqa: PTH109
        if not hasattr(sys.modules.get(arguments[1]), "__path__"):  # a module, not a package, runs as `__main__`
            sys.modules.pop(arguments[1], None)
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv[:] = arguments
        sys.path.insert(0, os.path.dirname(os.path.abspath(arguments[0])))  # noqa: PTH100, PTH120
        runpy.run_path(arguments[0], run_name="__main__")


def _end(code: int) -> None:
    """End as the interpreter does, but without clearing every module, which takes a quarter of a second."""
    import gc
    import threading

    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    if "_end" not in (variables := vars(sys.modules["__main__"])):
        variables.clear()
    gc.collect()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code & 0xFF)


def _main() -> None:
    del sys.path[0]  # the folder of this file
    arguments = _become(_serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2:]))
    code = 0
    try:
        _execute(arguments[1:] if arguments[0] == sys.executable else arguments)
    except SystemExit as end:
        if not isinstance(end.code, int | None):
            raise
        code = end.code or 0
    _end(code)


if __name__ == "__main__":
    _main()
