"""Progress of long work on a terminal; nothing at all elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text


class Report(Protocol):
    """Tells how far the work is."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Done of total, and what else to show."""
        ...


class _Rate(ProgressColumn):
    """Work done per second, in the unit of the task."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.1f} {task.fields['unit']}/s" if speed else "", style="progress.data.speed")


@contextmanager
def progress(label: str, unit: str) -> Iterator[Report]:
    """Show done of total, rate and time left.

    Yields:
        A function to call with (done, total). What is done at its first call does not count for the rate.
    """
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f} {task.fields[unit]}"),
        _Rate(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(label, total=None, visible=False, unit=unit, note="")

        def report(done: int, total: int, note: str = "") -> None:
            if bar.tasks[0].total is None:
                bar.reset(task, total=total, completed=done, visible=True, unit=unit, note=note)
            else:
                bar.update(task, completed=done, note=note)

        yield report
