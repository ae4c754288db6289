"""The `spaceclip` command."""

import os
import signal
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import Any

import click

from .commands.app import app
from .commands.cache import cache
from .commands.compare import compare
from .commands.cost import cost
from .commands.data import data
from .commands.evaluate import evaluate
from .commands.export import export
from .commands.extract import extract
from .commands.predict import predict
from .commands.probe import probe
from .commands.report import report
from .commands.settings import settings
from .commands.show import show
from .commands.study import study
from .commands.train import train

EXTRAS = {
    "av": "video",
    "cryptography": "cluster",
    "distributed": "cluster",
    "dvclive": "curves",
    "gradio": "app",
    "h5py": "datasets",
    "onnx": "export",
    "onnxruntime": "export",
    "onnxscript": "export",
    "pooch": "datasets",
    "requests": "datasets",
    "scipy": "datasets",
    "tensorboard": "curves",
}
"""Packages that an extra installs, as pyproject.toml says."""

_INTERRUPTED = "spaceclip: interrupted; run the same command again to go on from what is saved"


class Commands(click.Group):
    """Turns what a user can mend into one line on standard error and exit status 1, and Ctrl-C into status 130."""

    def main(self, args: Sequence[str] | None = None, *rest: Any, **named: Any) -> Any:
        """Run as the whole process, unless arguments are given."""
        if args is None:
            signal.signal(signal.SIGINT, _interrupt)
        return super().main(args, *rest, **named)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        if isinstance(sys.stdout, TextIOWrapper):
            # A file's name may be no UTF-8.
            sys.stdout.reconfigure(errors="backslashreplace")
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, BrokenPipeError):
            raise
        except KeyboardInterrupt:
            click.echo(_INTERRUPTED, err=True)
            if signal.getsignal(signal.SIGINT) is _interrupt_again:
                signal.signal(signal.SIGINT, signal.SIG_DFL)  # it is said, and only Python's own end is left
            ctx.exit(130)
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            if package not in EXTRAS:
                raise
            raise click.ClickException(
                f"{package} is not installed, which this needs: pip install 'spaceclip[{EXTRAS[package]}]'"
            ) from error
        except OSError as error:
            raise click.ClickException(
                f"{error.filename or 'a file'}: {error.strerror or error}; mend that (the path, the room on the disk, "
                "the connection), then run the same command again to go on from what is saved"
            ) from error
        except Exception as error:
            # Not at the top: it would import zarr, and `spaceclip --help` answers at once.
            from ..cache import SpaceClipError

            if isinstance(error, SpaceClipError):
                raise click.ClickException(str(error)) from error
            raise


def _interrupt(*_: object) -> None:
    """The first Ctrl-C: end what is under way in order."""
    signal.signal(signal.SIGINT, _interrupt_again)
    raise KeyboardInterrupt


def _interrupt_again(*_: object) -> None:
    """A second one meanwhile: end at once. What is saved is whole at any time, and no clean-up may fail aloud."""
    show_cursor = "\x1b[?25h" if os.isatty(2) else ""
    os.write(2, f"{show_cursor}{_INTERRUPTED}\n".encode())
    os._exit(130)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="spaceclip")
def main() -> None:
    """Metric depth from a frozen CLIP encoder: cache its features once, then train decoders in minutes."""


for command in (
    extract,
    train,
    evaluate,
    predict,
    app,
    export,
    cost,
    study,
    probe,
    report,
    show,
    compare,
    settings,
    cache,
    data,
):
    main.add_command(command)
