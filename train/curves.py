"""The curves of a run for other programs: those that read DVCLive's or TensorBoard's files."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

CurveLog = Literal["dvclive", "tensorboard"]
CURVES = "curves"

Row = Mapping[str, float | None]
Write = Callable[[int, dict[str, float]], None]


class Curves:
    """Writes the columns of a history, an epoch at a time, to `<out>/curves/<log>`.

    They are begun anew whenever a run begins or goes on, from its history: no point is there twice.

    Args:
        out: Folder of the run's results.
        logs: What to write.
        history: The epochs that are done.

    Raises:
        ModuleNotFoundError: What writes one of them (the extra `curves`) is not installed.
    """

    def __init__(self, out: Path, logs: Sequence[CurveLog], history: Sequence[Row]) -> None:
        self._writes = [{"dvclive": _dvclive, "tensorboard": _tensorboard}[log](out / CURVES / log) for log in logs]
        for row in history:
            self.add(row)

    def add(self, row: Row) -> None:
        """Write one epoch."""
        values = {name: value for name, value in row.items() if value is not None and name != "epoch"}
        for write in self._writes:
            write(int(row["epoch"] or 0), values)


def _dvclive(folder: Path) -> Write:
    from dvclive.live import Live

    shutil.rmtree(folder, ignore_errors=True)
    live = Live(str(folder), save_dvc_exp=False, dvcyaml=None, report=None)

    def write(epoch: int, values: dict[str, float]) -> None:
        live.step = epoch
        for name, value in values.items():
            live.log_metric(name, value)
        live.make_summary()

    return write


def _tensorboard(folder: Path) -> Write:
    from torch.utils.tensorboard import SummaryWriter

    shutil.rmtree(folder, ignore_errors=True)
    writer = SummaryWriter(str(folder))

    def write(epoch: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            writer.add_scalar(name, value, epoch)
        writer.flush()

    return write
