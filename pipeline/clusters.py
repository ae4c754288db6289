"""A Dask cluster as a user asks for it, by options that several commands have."""

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .paths import FILE

if TYPE_CHECKING:
    from distributed import Client, Security


@dataclass(frozen=True)
class ClusterChoice:
    """The cluster to work on, or none.

    Attributes:
        scheduler: Address of a Dask scheduler.
        certificates: To reach that by.
        workers: Processes of a cluster of this machine's own.
        gpus: Whether each of these has a GPU of its own.
    """

    scheduler: str | None = None
    certificates: "Security | None" = None
    workers: int | None = None
    gpus: bool = False

    def __bool__(self) -> bool:
        return self.scheduler is not None or self.workers is not None

    def reached(self, say: Callable[[str], None]) -> "AbstractContextManager[Client]":
        """A client of it."""
        from ..cache.cluster import reached

        return reached(self.scheduler, self.certificates, self.workers or 1, gpus=self.gpus, say=say)


_OPTIONS = (
    click.option("--scheduler", metavar="ADDRESS", help="Run on this Dask cluster, such as tcp://host:8786."),
    click.option("--tls-ca", type=FILE, help="With --scheduler tls://...: certificate of the cluster's authority."),
    click.option("--tls-cert", type=FILE, help="With it: this process's certificate."),
    click.option("--tls-key", type=FILE, help="With it: the certificate's key, where that lies apart."),
    click.option("--workers", type=click.IntRange(min=1), help="Run on so many processes of this machine."),
    click.option("--gpus", is_flag=True, help="With --workers: a GPU for each."),
)


def cluster_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of a cluster; it is called with them as `cluster`, a `ClusterChoice`."""

    @functools.wraps(command)
    def chosen(
        *given: Any,
        scheduler: str | None,
        tls_ca: Path | None,
        tls_cert: Path | None,
        tls_key: Path | None,
        workers: int | None,
        gpus: bool,
        **named: Any,
    ) -> Any:
        if (gpus and workers is None) or (scheduler and workers):
            raise click.UsageError("give --scheduler ADDRESS, or --workers N, with --gpus if each shall have one")
        certificates = _certificates(scheduler, tls_ca, tls_cert, tls_key)
        return command(*given, cluster=ClusterChoice(scheduler, certificates, workers, gpus), **named)

    for option in reversed(_OPTIONS):
        chosen = option(chosen)
    return chosen


def _certificates(
    scheduler: str | None, authority: Path | None, certificate: Path | None, key: Path | None
) -> "Security | None":
    if not (authority or certificate or key):
        return None
    if not (scheduler and authority and certificate):
        raise click.UsageError("give --tls-ca and --tls-cert together (and --tls-key), with --scheduler tls://...")
    from ..cache.cluster import certificates

    return certificates(authority, certificate, key)
