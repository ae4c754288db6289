"""Processes that start at once: forked from a server that has imported torch, Dask, DVC and this package."""

import multiprocessing
import os
import runpy
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing.connection import Client, Connection, Listener, wait
from pathlib import Path
from threading import Event, Thread
from typing import Self

PRELOADED = [
    "dvc.cli.parser",
    "dvc.repo.plots",
    "matplotlib.backends.backend_agg",
    "matplotlib.figure",
    "rich.progress",
    "spaceclip.evaluate",
    "spaceclip.extract.cluster",
    "spaceclip.extract.towers.weights",
    "spaceclip.pipeline.config",
    "transformers.models.clip.modeling_clip",
    "zarr.codecs",
]
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(PRELOADED)


class Forked:
    """What tests use of `subprocess.Popen`, for Python: no seconds of imports come first; leaving it ends it.

    Args:
        command: What would stand behind `python`: `-c` and a script or `-m` and a module, then arguments.
        cwd: Its working directory.
        env: Its environment; what is read while modules are imported (OMP_NUM_THREADS) is the server's.
    """

    def __init__(self, *command: object, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> None:
        out, err = _CONTEXT.Pipe(duplex=False), _CONTEXT.Pipe(duplex=False)
        given = (list(map(str, command)), cwd or Path.cwd(), dict(os.environ if env is None else env), out[1], err[1])
        self._process = _CONTEXT.Process(target=_run, args=given)
        self._process.start()
        self.stdout, self.stderr = (os.fdopen(os.dup(reader.fileno())) for reader, _ in (out, err))
        for end in (*out, *err):
            end.close()
        assert self._process.pid is not None
        self.pid, self.kill, self.sentinel = self._process.pid, self._process.kill, self._process.sentinel

    def poll(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise TimeoutError(f"{self._process} is still there after {timeout} s")
        return self._process.exitcode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Its output once it has ended: at most what two pipes hold."""
        with self:
            self.wait(timeout)
            return self.stdout.read(), self.stderr.read()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.wait()
        self.stdout.close()
        self.stderr.close()


def _run(command: list[str], cwd: Path, env: dict[str, str], out: Connection, err: Connection) -> None:
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    os.dup2(out.fileno(), 1)
    os.dup2(err.fileno(), 2)
    sys.stdout.reconfigure(line_buffering=True)  # pyright: ignore[reportAttributeAccessIssue]
    sys.path[:0] = filter(None, env.get("PYTHONPATH", "").split(os.pathsep))
    kind, what, *arguments = command
    sys.argv = [kind, *arguments]
    if kind == "-c":
        exec(what, {"__name__": "__main__"})
    else:
        runpy.run_module(what, run_name="__main__", alter_sys=True)


SPACECLIP = "import sys; from spaceclip.pipeline.cli import main; sys.exit(main())"
_ASKING = """#!{python} -SE
import os, sys
from multiprocessing.connection import Client
with Client({address!r}) as server:
    server.send((sys.argv[1:], os.getcwd(), dict(os.environ)))
    code, out, err = server.recv()
sys.stdout.write(out)
sys.stderr.write(err)
sys.exit(code)
"""


@contextmanager
def command_folder(folder: Path) -> Iterator[Path]:
    """A folder for PATH: whoever runs the `spaceclip` in it, such as DVC, runs it in a forked process."""
    command = folder / "spaceclip"
    with Listener(family="AF_UNIX", backlog=16) as listener:
        command.write_text(_ASKING.format(python=sys.executable, address=listener.address))
        command.chmod(0o755)
        closing = Event()
        server = Thread(target=_serve, args=(listener, closing))
        server.start()
        yield folder
        closing.set()
        Client(listener.address).close()
        server.join()


def _serve(listener: Listener, closing: Event) -> None:
    while True:
        asking = listener.accept()
        if closing.is_set():
            asking.close()
            return
        Thread(target=_answer, args=(asking,)).start()


def _answer(asking: Connection) -> None:
    """Runs a command for whoever asks, who may be killed: then so is the command."""
    with asking, suppress(EOFError, OSError):
        arguments, cwd, env = asking.recv()
        with Forked("-c", SPACECLIP, *arguments, cwd=Path(cwd), env=env) as run:
            if asking not in wait([asking, run.sentinel]):
                asking.send((run.wait(), run.stdout.read(), run.stderr.read()))
