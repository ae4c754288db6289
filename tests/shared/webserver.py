"""A small web server on loopback that can misbehave as real ones do."""

import contextlib
import hashlib
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Web:
    """Serves `files`, by path, and notes what it was asked and what it sent.

    Attributes:
        files: Content by path.
        cuts: By path, after how many bytes each coming answer is cut.
        answers: By path, the error statuses of the coming answers.
        tags: Whether ETags are sent.
        ranges: Whether a wanted range is granted.
        asked: (path, its Range header or None, bytes sent) of each request.
    """

    def __init__(self):
        self.files: dict[str, bytes] = {}
        self.cuts: dict[str, list[int]] = {}
        self.answers: dict[str, list[int]] = {}
        self.tags = True
        self.ranges = True
        self.asked: list[tuple[str, str | None, int]] = []

    def __enter__(self):
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                web.answer(self)

            def log_message(self, format, *args):  # noqa: A002
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = False
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.005,))
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server.server_port}{path}"

    def sent(self, path: str) -> int:
        return sum(count for asked, _, count in self.asked if asked == path)

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path, wanted = request.path, request.headers.get("Range")
        status = self.answers[path].pop(0) if self.answers.get(path) else 200 if path in self.files else 404
        if status != 200:
            self.asked.append((path, wanted, 0))
            request.send_error(status)
            return
        content, start = self.files[path], 0
        tag = f'"{hashlib.sha1(content).hexdigest()}"'
        if wanted and self.ranges and request.headers.get("If-Range") in (tag, None):
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if start and start >= len(content):
            self.asked.append((path, wanted, 0))
            request.send_error(416)
            return
        body = content[start:]
        request.send_response(206 if start else 200)
        request.send_header("Content-Length", str(len(body)))
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if self.tags:
            request.send_header("ETag", tag)
        request.end_headers()
        if self.cuts.get(path):
            body = body[: self.cuts[path].pop(0)]
        self.asked.append((path, wanted, len(body)))
        with contextlib.suppress(OSError):
            request.wfile.write(body)


def refusing_address() -> str:
    """An address on loopback where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}/file"
