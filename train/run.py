"""One decoder's training in its folder: what is planned, what is saved, what is finished."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..cache import Features, SpaceClipError, is_begun, only_writer, write_atomically
from .checkpoint import INFO, RECEIPT, WEIGHTS, CheckpointInfo, load_checkpoint, save_checkpoint, store_facts
from .curves import Curves
from .decoder import DecoderSettings
from .history import HISTORY, history_csv
from .provenance import made_with
from .recipe import TrainSettings
from .state import Progress, StateFolder
from .timing import Encoding, Receipt
from .trainee import Trainee


@dataclass(frozen=True)
class Plan:
    """One decoder that is to be trained.

    Attributes:
        out: Folder of `checkpoint.safetensors`, `checkpoint.json`, `train_receipt.json` and `history.csv`.
        decoder: The network.
        settings: The recipe.
        protocol: What validation measures, for the record.
    """

    out: Path
    decoder: DecoderSettings
    settings: TrainSettings
    protocol: Mapping[str, Any]


class Run:
    """A decoder's plan, folder and state.

    Attributes:
        info: What its finished checkpoint says.
        error: Why it was given up.
    """

    def __init__(self, plan: Plan, cache: Features, validation: Features | None, device: torch.device) -> None:
        self.plan, self._cache, self._validation, self._device = plan, cache, validation, device
        self._state = StateFolder(
            plan.out,
            {
                "store": cache.digest,
                "validation": None if validation is None else validation.digest,
                "decoder": plan.decoder.model_dump(),
                "training": plan.settings.deciding(),
                "protocol": dict(plan.protocol),
                "device": device.type,
            },
        )
        self.saved = Progress()
        self.info: CheckpointInfo | None = None
        self.error: SpaceClipError | None = None
        self._shows = False

    @property
    def others(self) -> list[Path]:
        """The unfinished states of other runs that its folder holds."""
        return self._state.others

    @contextmanager
    def held(self, force: bool) -> Iterator[None]:
        """Context in which its folder is this process's alone; its state is read.

        Raises:
            SpaceClipError: See `fit`.
        """
        out = self.plan.out
        # The lock's file lies in the folder, so that one that cannot be written to is found before the first step.
        with _not_left_empty(out), only_writer(out / "checkpoint", "checkpoint"):
            for file in out.iterdir():
                # Left by a killed run; others may be writing results of other names into this folder.
                if is_begun(file.name) and file.name[1:].startswith((WEIGHTS, INFO, RECEIPT, HISTORY)):
                    file.unlink()
            self.saved = self._state.load()
            finished = (out / INFO).exists()
            # A history beside a finished checkpoint is that one's, until this run has replaced it.
            self._shows = not finished
            if finished and not force and len(self.saved.history) < self.plan.settings.epochs:
                self.info = self._finished()
            yield

    def begin(self, steps: int) -> None:
        """Make the decoder, as it was when its state was written."""
        self.trainee = Trainee(self.plan.decoder, self.plan.settings, self._device, steps, self.saved)
        with self._writing():
            self._curves = Curves(self.plan.out, self.plan.settings.log, self.saved.history)

    def save(self) -> None:
        """Write what it goes on from.

        Raises:
            SpaceClipError: It cannot be written.
        """
        with self._writing():
            self._state.save(self.trainee.progress())

    def save_epoch(self) -> None:
        """Likewise, and its history."""
        self.save()
        with self._writing():
            self._curves.add(self.saved.history[-1])
            if self._shows:
                write_atomically(self.plan.out / HISTORY, history_csv(self.saved.history))

    def finish(self) -> None:
        """Write the checkpoint.

        Raises:
            SpaceClipError: It cannot be written.
        """
        assert self.saved.best is not None
        images, epochs = self.saved.steps * self.plan.settings.batch_size, self.plan.settings.epochs
        encoding = Encoding.of(self._cache, self._validation, images // epochs)
        receipt = Receipt.of(self.saved.seconds, images, encoding, made_with(self._device))
        info = self._describe({**self.saved.best, "collapsed": self.saved.collapsed, "receipt": receipt})
        with self._writing():
            write_atomically(self.plan.out / HISTORY, history_csv(self.saved.history))
            save_checkpoint(self.plan.out, self.saved.kept, info)
        self.info = info
        self._state.remove()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Context in which a disk that is full, or gone, is one line."""
        try:
            yield
        except OSError as error:
            raise SpaceClipError(
                f"{self.plan.out}: cannot be written to ({error.strerror or error}); what was saved before is whole: "
                "make room there, then run the same command again to go on from it"
            ) from error

    def done(self) -> CheckpointInfo | int:
        """Its finished checkpoint or, while there is none, the steps that are done; the folder is not held.

        Raises:
            SpaceClipError: The folder holds a finished checkpoint of another run, or something damaged.
        """
        if (self.plan.out / INFO).exists():
            return self._finished("delete that folder")
        return self._state.load().steps

    def _finished(self, otherwise: str = "--force to replace it") -> CheckpointInfo:
        """The finished checkpoint of its folder, if its record is that of this run."""
        out = self.plan.out
        try:
            info = load_checkpoint(out).info
        except SpaceClipError as error:
            problem = str(error).partition("; ")[0]  # without the advice for those who only read it
            raise SpaceClipError(f"{problem}: {otherwise}") from error
        made = info.model_dump(include={"weights", "epoch", "metrics", "sha256", "collapsed"})
        # What its record says nothing of, since it is from before that was kept, it does not differ in.
        unknown = {name: None for name, value in info if value is None}
        wanted = self._describe({**made, "receipt": info.receipt}).model_copy(update=unknown)
        if info != wanted:
            # Settings by the names that a user gives them.
            records = (one.model_dump(mode="json") for one in (info, wanted))
            there, now = ({"train": record.pop("training"), **record} for record in records)
            differ = _difference(there, now)
            raise SpaceClipError(f"{out} holds a finished checkpoint ({differ}): give another --out, or {otherwise}")
        return info

    def _describe(self, best: Mapping[str, Any]) -> CheckpointInfo:
        cache, validation, settings = self._cache, self._validation, self.plan.settings
        return CheckpointInfo(
            decoder=self.plan.decoder,
            backbone=cache.identity["backbone"],
            preprocessing=cache.identity["preprocessing"],
            image_size=cache.identity["image_size"],
            patches=cache.identity["tokens"]["patches"],
            stores=store_facts(cache),
            validation=[] if validation is None else store_facts(validation),
            min_depth=settings.min_depth,
            max_depth=settings.max_depth,
            protocol=dict(self.plan.protocol),
            training=settings.deciding(),
            chosen=settings.keep,
            **best,
        )


@contextmanager
def _not_left_empty(out: Path) -> Iterator[None]:
    """Context that leaves no empty folder, nor empty ones that it lies in, where there were none before."""
    new = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        yield
    finally:
        with suppress(OSError):
            for folder in new:
                folder.rmdir()


def _difference(found: Any, wanted: Any, name: str = "") -> str:
    """The first setting of two records that differs, with both values; empty where none does."""
    if name in ("stores", "validation") and found != wanted:
        if len(found) != len(wanted):
            return f"{name}: {len(found)} there, {len(wanted)} now"
        found, wanted = (dict(enumerate(stores)) for stores in (found, wanted))
    if isinstance(found, Mapping) and isinstance(wanted, Mapping):
        keys = dict.fromkeys((*wanted, *found))
        differ = (_difference(found.get(key), wanted.get(key), f"{name}.{key}" if name else str(key)) for key in keys)
        return next(filter(None, differ), "")
    return "" if found == wanted else f"{name} {found} there, {wanted} now"
