"""A small S3 on loopback: path-style, in memory, with conditional puts, ranges, copies and paged lists."""

import hashlib
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

Answer = tuple[int, bytes, dict[str, str]]


class S3:
    """Buckets by name, objects by key, and what was asked.

    Attributes:
        buckets: Content by key, by bucket.
        asked: (method, path, bytes of the answer) of each request; the query is left out.
        answers: Error statuses of the coming requests, whatever they ask.
        conditions: Those of puts that are known; the others are answered as old servers do.
        key: The access key that is let in.
        page: Objects a listed page.
    """

    def __init__(self, *buckets: str) -> None:
        self.buckets: dict[str, dict[str, bytes]] = {bucket: {} for bucket in buckets}
        self.asked: list[tuple[str, str, int]] = []
        self.answers: list[int] = []
        self.conditions = {"If-None-Match", "If-Match"}
        self.key = "tester"
        self.page = 1000
        self.lock = threading.Lock()

    def __enter__(self):
        self.server = _Server(self)
        self.port: int = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.005,))
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join()
        self.server.hang_up()
        self.server.server_close()

    def environment(self, port: int | None = None) -> dict[str, str]:
        """What a client's environment must hold to come here, or to a proxy in front."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port or self.port}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
        }

    @contextmanager
    def reached(self, port: int | None = None) -> Iterator[None]:
        """This process's environment set so that `s3://` URLs lead here, and to nobody's real account."""
        before = dict(os.environ)
        try:
            for name in before:
                if name.startswith(("AWS_", "GOOGLE_", "AZURE_")):
                    del os.environ[name]
            os.environ.update(self.environment(port))
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = False

    def __init__(self, s3: S3) -> None:
        self.s3 = s3
        self.open: set[Any] = set()
        super().__init__(("127.0.0.1", 0), _Request)

    def process_request(self, request, client_address) -> None:
        self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request) -> None:
        self.open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """Clients keep their connections for the next request; threads wait on them."""
        for connection in list(self.open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request, client_address) -> None:
        """A client that went away is none of ours."""


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer in one piece: two small ones wait 40 ms for each other
    server: Any

    def log_message(self, format, *args):  # noqa: A002
        pass

    def serve(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        if len(body) < length:  # cut on its way: as if it had never come
            self.close_connection = True
            return
        with self.server.s3.lock:
            status, content, headers = self.answer(body)
            self.server.s3.asked.append((self.command, self.path.partition("?")[0], len(content)))
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
        self.wfile.flush()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = serve  # noqa: N815

    def answer(self, body: bytes) -> Answer:
        s3, url = self.server.s3, urlsplit(self.path)
        bucket, _, key = unquote(url.path).removeprefix("/").partition("/")
        if s3.answers:
            return _failed(s3.answers.pop(0), "InternalError")
        if f"Credential={s3.key}/" not in self.headers.get("Authorization", ""):
            return _failed(403, "InvalidAccessKeyId")
        if bucket not in s3.buckets:
            return _failed(404, "NoSuchBucket")
        signed = self.headers.get("x-amz-content-sha256", "")
        if len(signed) == 64 and hashlib.sha256(body).hexdigest() != signed:
            return _failed(400, "XAmzContentSHA256Mismatch")
        objects = s3.buckets[bucket]
        if self.command == "POST":
            return _delete_many(objects, body)
        if self.command == "DELETE":
            objects.pop(key, None)
            return 200, b"", {}
        if self.command == "PUT":
            return self.put(objects, key, body)
        if not key:
            return _listed(objects, {name: value[0] for name, value in parse_qs(url.query).items()}, s3.page)
        return self.get(objects, key)

    def get(self, objects: dict[str, bytes], key: str) -> Answer:
        if key not in objects:
            return _failed(404, "NoSuchKey")
        content = objects[key]
        headers = {"ETag": _tag(content), "Last-Modified": formatdate(usegmt=True)}
        if self.headers.get("If-Match", headers["ETag"]) != headers["ETag"]:
            return _failed(412, "PreconditionFailed")
        if not (wanted := self.headers.get("Range")):
            return 200, content, headers
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        start, stop = (int(first), int(last or len(content)) + 1) if first else (len(content) - int(last), len(content))
        start, stop = max(start, 0), min(stop, len(content))
        if start >= stop:
            return _failed(416, "InvalidRange")
        return 206, content[start:stop], {**headers, "Content-Range": f"bytes {start}-{stop - 1}/{len(content)}"}

    def put(self, objects: dict[str, bytes], key: str, body: bytes) -> Answer:
        found, unless, only = objects.get(key), self.headers.get("If-None-Match"), self.headers.get("If-Match")
        if any(name in self.headers for name in {"If-None-Match", "If-Match"} - self.server.s3.conditions):
            return _failed(501, "NotImplemented")
        if only and found is None:
            return _failed(404, "NoSuchKey")
        if found is not None and (unless or only not in (None, _tag(found))):
            return _failed(412, "PreconditionFailed")
        if not (source := unquote(self.headers.get("x-amz-copy-source", "")).lstrip("/")):
            objects[key] = body
            return 200, b"", {"ETag": _tag(body)}
        there, _, source_key = source.partition("/")
        if source_key not in self.server.s3.buckets.get(there, {}):
            return _failed(404, "NoSuchKey")
        objects[key] = self.server.s3.buckets[there][source_key]
        return 200, f"<CopyObjectResult><ETag>{_tag(objects[key])}</ETag></CopyObjectResult>".encode(), {}


def _delete_many(objects: dict[str, bytes], body: bytes) -> Answer:
    keys = [part.text or "" for part in ElementTree.fromstring(body).iter() if part.tag.endswith("Key")]
    for key in keys:
        objects.pop(key, None)
    gone = "".join(f"<Deleted><Key>{escape(key)}</Key></Deleted>" for key in keys)
    return 200, f"<DeleteResult>{gone}</DeleteResult>".encode(), {}


def _listed(objects: dict[str, bytes], query: dict[str, str], page: int) -> Answer:
    """A page of ListObjectsV2."""
    prefix, cut = query.get("prefix", ""), query.get("delimiter", "")
    entries: dict[str, str] = {}
    for key in sorted(key for key in objects if key.startswith(prefix)):
        below, found, _ = key.removeprefix(prefix).partition(cut) if cut else (key, "", "")
        if found:
            folder = prefix + below + cut
            entries[folder] = f"<CommonPrefixes><Prefix>{escape(folder)}</Prefix></CommonPrefixes>"
        else:
            entries[key] = (
                f"<Contents><Key>{escape(key)}</Key><Size>{len(objects[key])}</Size><ETag>{_tag(objects[key])}</ETag>"
                "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
            )
    after = query.get("continuation-token") or query.get("start-after", "")
    left = sorted(name for name in entries if name > after)
    more = len(left) > page
    token = f"<NextContinuationToken>{escape(left[page - 1])}</NextContinuationToken>" if more else ""
    content = f"<IsTruncated>{str(more).lower()}</IsTruncated>{token}{''.join(entries[name] for name in left[:page])}"
    return 200, f"<ListBucketResult>{content}</ListBucketResult>".encode(), {}


def _failed(status: int, code: str) -> Answer:
    return status, f"<Error><Code>{code}</Code><Message>{code} it is</Message></Error>".encode(), {}


def _tag(content: bytes) -> str:
    return f'"{hashlib.md5(content).hexdigest()}"'
