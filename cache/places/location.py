"""Where a store lies: a path of this machine, or the URL of an object store. Names only; `place` does the reading."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

SCHEMES = ("s3", "gs", "az")


@dataclass(frozen=True)
class Url:
    """A place in an object store, with a path's arithmetic.

    Attributes:
        text: `s3://bucket/prefix`, `gs://bucket/prefix` or `az://container/prefix`, without a slash at its end.
    """

    text: str

    def __str__(self) -> str:
        return self.text

    def __truediv__(self, name: str) -> "Url":
        return Url(f"{self.text}/{name.strip('/')}")

    @property
    def _key(self) -> PurePosixPath:
        return PurePosixPath(self.text.partition("://")[2])

    @property
    def name(self) -> str:
        """The last part."""
        return self._key.name

    @property
    def stem(self) -> str:
        """The last part without its suffix."""
        return self._key.stem

    @property
    def parent(self) -> "Url":
        """All but the last part."""
        return Url(f"{self.text.partition('://')[0]}://{self._key.parent}")

    def with_name(self, name: str) -> "Url":
        """Another name at the same level."""
        return self.parent / name


Location = Path | Url


def locate(where: str | Location) -> Location:
    """A location from what a user wrote: `s3://`, `gs://` and `az://` are URLs, all else is a path."""
    scheme, separator, rest = str(where).partition("://")
    if isinstance(where, str) and separator and scheme in SCHEMES:
        return Url(f"{scheme}://{rest.rstrip('/')}")
    return Path(where) if isinstance(where, str) else where
