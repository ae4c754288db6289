"""A store's objects in a bucket of S3, Google Cloud Storage or Azure, or of a server that speaks as they do."""

import errno
import os
import re
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import obstore
from blake3 import blake3
from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, S3Store
from typing_extensions import override

from ..errors import StoreError
from .bucket_errors import CREDENTIALS, first_line, refusal
from .location import Location, Url
from .place import Content, Place, Stored, fill

if TYPE_CHECKING:
    from zarr.storage import ObjectStore

# How the client repeats what failed: the default gives up after 20 to 28 s of refused connections. A transfer of less
# than the timeout that breaks is repeated too, and a read goes on where it broke. Beyond 15 min signatures expire.
RETRY: dict[str, Any] = {
    "max_retries": 10,
    "retry_timeout": timedelta(minutes=10),
    "backoff": {"init_backoff": timedelta(seconds=0.2), "max_backoff": timedelta(seconds=3), "base": 10},
}
CONNECT_SECONDS = 5
# Without a byte.
SILENCE_SECONDS = 60
# Of a whole request: many objects of 20 MB at once, through a link of 0.2 MB/s.
REQUEST_SECONDS = 3600
# Small objects are read side by side: each takes a round trip, however small it is.
CONNECTIONS = 32
# The client does not repeat a list that is cut.
LISTINGS = 4
_PIECE = 2**20
# As many as providers list in one answer.
_PAGE = 1000

_KINDS = {"s3": (S3Store, "AWS"), "gs": (GCSStore, "GOOGLE"), "az": (AzureStore, "AZURE")}
# Given here, as options given in code make the client forget those of the environment.
_FROM_ENVIRONMENT = ("ALLOW_HTTP", "ALLOW_INVALID_CERTIFICATES", "PROXY_URL", "PROXY_CA_CERTIFICATE", "PROXY_EXCLUDES")
_LACKING = {"Account must be": "set AZURE_STORAGE_ACCOUNT_NAME", "AccessKey": CREDENTIALS["s3"]}
_ENDPOINTS = ("AWS_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AZURE_ENDPOINT", "AZURE_STORAGE_ENDPOINT")

Version = Mapping[str, str]
T = TypeVar("T")


class Bucket(Place):
    """A prefix of a bucket.

    Account and credentials come from the environment, or from the machine's own identity in its cloud:

    * `s3://`: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_REGION`; `AWS_ENDPOINT_URL` for
      other servers, with `AWS_ALLOW_HTTP=true` if it is http; `AWS_SKIP_SIGNATURE=true` for a public bucket. Profiles
      and SSO (`~/.aws`) are not read.
    * `gs://`: `GOOGLE_APPLICATION_CREDENTIALS`, or what `gcloud auth application-default login` left.
    * `az://`: `AZURE_STORAGE_ACCOUNT_NAME` with `AZURE_STORAGE_ACCOUNT_KEY` or `AZURE_STORAGE_SAS_TOKEN`.

    Objects are put in one request: an upload that is cut leaves nothing. All faults of the network are waited out for
    a while (`RETRY`). Not to be used by a forked process whose parent used one.

    Raises:
        StoreError: The URL names no bucket, or the environment's settings cannot be right.
    """

    def __init__(self, url: Url) -> None:
        self.location = self.url = url
        self._scheme, _, rest = url.text.partition("://")
        self._bucket, _, self._prefix = rest.partition("/")
        if not re.fullmatch(r"\w[\w.-]*", self._bucket, re.ASCII):
            raise StoreError(f"{url}: names no bucket; expected {self._scheme}://bucket/path")
        self._reading = self._connect(self._prefix, read_timeout=timedelta(seconds=SILENCE_SECONDS))

    def __reduce__(self) -> tuple[type["Bucket"], tuple[Url]]:
        return Bucket, (self.url,)

    @cached_property
    def _writing(self) -> S3Store | GCSStore | AzureStore:
        # During an upload nothing comes back: silence is no sign.
        return self._connect(self._prefix)

    @cached_property
    def _whole_bucket(self) -> S3Store | GCSStore | AzureStore:
        return self._connect("")

    def _connect(self, prefix: str, **more: timedelta) -> S3Store | GCSStore | AzureStore:
        kind, variables = _KINDS[self._scheme]
        for name in _ENDPOINTS:
            if not re.match(r"https?://|$", os.environ.get(name, "")):
                raise StoreError(f"{name}={os.environ[name]}: expected a URL that begins with https:// or http://")
        options: dict[str, Any] = {
            "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
            "timeout": timedelta(seconds=REQUEST_SECONDS),
            **more,
        }
        for name in _FROM_ENVIRONMENT:
            if value := os.environ.get(f"{variables}_{name}"):
                options[name.lower()] = value
        account = os.environ.get("AZURE_STORAGE_ACCOUNT_NAME") if kind is AzureStore else None
        config: dict[str, Any] = {"account_name": account} if account else {}
        try:
            return kind(self._bucket, prefix=prefix or None, config=config, client_options=options, retry_config=RETRY)  # type: ignore[arg-type, return-value]
        except (BaseError, ValueError, OSError) as error:
            cure = next((f"; {cure}" for sign, cure in _LACKING.items() if sign in str(error)), "")
            raise StoreError(f"{self.url}: {first_line(error)}{cure}") from error

    @override
    def read(self, key: str) -> bytes:
        with self._plainly(key):
            return obstore.get(self._reading, key).bytes().to_bytes()

    @override
    def read_into(self, key: str, start: int, *buffers: memoryview) -> int:
        return fill(buffers, self._range(key, start, sum(map(len, buffers))))

    @override
    def read_end(self, key: str, length: int) -> bytes:
        if self._scheme == "az":  # knows no ranges from the end
            with self._plainly(key):
                size = obstore.head(self._reading, key)["size"]
            return self._range(key, max(size - length, 0), min(size, length))
        last: obstore.GetOptions = {"range": {"suffix": length}}
        return self._part(key, lambda: obstore.get(self._reading, key, options=last).bytes().to_bytes())

    @override
    def read_all(self, keys: Sequence[str]) -> Generator[bytes | OSError]:
        def attempt(key: str) -> bytes | OSError:
            try:
                return self.read(key)
            except OSError as error:
                return error

        with ThreadPoolExecutor(CONNECTIONS) as pool:
            yield from pool.map(attempt, keys)

    @override
    def write(self, key: str, content: Content) -> None:
        with self._plainly(key):
            obstore.put(self._writing, key, memoryview(content).cast("B"), use_multipart=False)

    @override
    def delete(self, key: str) -> None:
        with suppress(FileNotFoundError), self._plainly(key):
            obstore.delete(self._writing, key)

    @override
    def names(self, folder: str = "") -> list[str]:
        found = self._listed(folder, lambda: obstore.list_with_delimiter(self._reading, folder or None))
        paths = [*found["common_prefixes"], *(entry["path"] for entry in found["objects"])]
        return sorted({path.rstrip("/").rpartition("/")[2] for path in paths})

    @override
    def walk(self, folder: str = "") -> Iterator[tuple[str, int]]:
        last, left = None, LISTINGS
        while True:
            try:
                with self._plainly(folder):
                    for page in obstore.list(self._reading, folder or None, offset=last, chunk_size=_PAGE):
                        for entry in page:
                            last = entry["path"]
                            yield last, entry["size"]
                        left = LISTINGS
            except ConnectionResetError:
                left -= 1
                if not left:
                    raise
            else:
                return

    @override
    def stored(self, key: str) -> Stored:
        size, digest = 0, blake3()
        with self._plainly(key):
            for piece in obstore.get(self._reading, key).stream(_PIECE):
                size += len(piece)
                digest.update(piece)
        return Stored(size, digest.hexdigest())

    @override
    def take(self, key: str, source: Location, source_key: str) -> bool:
        """A copy made by the server, if both are in one bucket."""
        place = f"{self._scheme}://{self._bucket}"
        if not isinstance(source, Url) or not f"{source}/".startswith(f"{place}/"):
            return False
        start = len(place) + 1
        with self._plainly(key):
            obstore.copy(self._whole_bucket, (source / source_key).text[start:], (self.url / key).text[start:])
        return True

    @override
    def free_bytes(self) -> None:
        return None

    @override
    def zarr(self) -> "ObjectStore[Any]":
        from zarr.storage import ObjectStore

        return ObjectStore(self._writing)

    def version(self, key: str) -> tuple[bytes, Version]:
        """An object, and what `write_if` needs to replace just this one."""
        with self._plainly(key):
            found = obstore.get(self._reading, key)
            return found.bytes().to_bytes(), _version(found.meta)

    def write_if(self, key: str, content: bytes, version: Version | None) -> Version:
        """Replace an object if it is of this version, or write one if None is there.

        Raises:
            FileExistsError: It is not.
            OSError: With `errno.ENOTSUP`, the server knows no conditions.
        """
        with self._plainly(key):
            mode: Any = "create" if version is None else dict(version)
            return _version(obstore.put(self._writing, key, content, mode=mode, use_multipart=False))

    @contextmanager
    def _plainly(self, key: str) -> Iterator[None]:
        try:
            yield
        except (BaseError, OSError, ValueError, NotImplementedError) as error:
            raise refusal(error, self.url / key if key else self.url) from error

    def _range(self, key: str, start: int, length: int) -> bytes:
        if not length:
            return b""
        return self._part(key, lambda: obstore.get_range(self._reading, key, start=start, length=length).to_bytes())

    def _part(self, key: str, read: Callable[[], bytes]) -> bytes:
        try:
            with self._plainly(key):
                return read()
        except OSError as error:
            if error.errno == errno.ERANGE:
                return b""
            raise

    def _listed(self, folder: str, ask: Callable[[], T]) -> T:
        for left in reversed(range(LISTINGS)):
            try:
                with self._plainly(folder):
                    return ask()
            except ConnectionResetError:
                if not left:
                    raise
        raise AssertionError


def _version(result: Mapping[str, Any]) -> Version:
    return {name: result[name] for name in ("e_tag", "version") if result.get(name)}
