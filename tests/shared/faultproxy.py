"""A TCP proxy on loopback for the faults of a network: it refuses, cuts, slows and delays as it is told."""

import socket
import threading
import time
from contextlib import suppress

BLOCK = 16384


class FaultProxy:
    """Stands in front of a port of this machine.

    Attributes:
        port: Where clients come.
        refusing: Whether nobody listens.
        rate: Bytes/s of each connection and direction; None for as fast as it goes.
        delay: Seconds that each connection waits before its first byte goes on.
        cuts: Of the coming connections, after how many bytes each is cut: (from the client, from the server).
        connections: How many were accepted.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.rate: float | None = None
        self.delay = 0.0
        self.cuts: list[tuple[float, float]] = []
        self.connections = 0
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self.port = 0

    def __enter__(self):
        self.refusing = False
        return self

    def __exit__(self, *_):
        self.refusing = True
        for thread in self._threads:
            thread.join()

    @property
    def refusing(self) -> bool:
        return self._listener is None

    @refusing.setter
    def refusing(self, refusing: bool) -> None:
        if refusing and self._listener:
            listener, self._listener = self._listener, None
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
            self.hang_up()
        elif not refusing and not self._listener:
            self._listener = socket.socket()
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listener.bind(("127.0.0.1", self.port))
            self._listener.listen(128)
            self.port = self._listener.getsockname()[1]
            self._start(self._accept, self._listener)

    def cut(self, connections: int, sent: float = float("inf"), received: float = float("inf")) -> None:
        """Cut the next connections after so many bytes from the client or from the server, and those that are open now.

        Clients keep connections for many requests; the open ones go so that the next request needs a new one.
        """
        self.cuts = [(sent, received)] * connections
        self.hang_up()

    def hang_up(self) -> None:
        """End every connection."""
        with self._lock:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _start(self, target, *args) -> None:
        thread = threading.Thread(target=target, args=args)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            self.connections += 1
            self._start(self._carry, client, self.cuts.pop(0) if self.cuts else (float("inf"), float("inf")))

    def _carry(self, client: socket.socket, cut: tuple[float, float]) -> None:
        with client, socket.create_connection(("127.0.0.1", self.target)) as server:
            with self._lock:
                self._open |= {client, server}
            time.sleep(self.delay)
            back = threading.Thread(target=self._pump, args=(server, client, cut[1]))
            back.start()
            self._pump(client, server, cut[0])
            back.join()
            with self._lock:
                self._open -= {client, server}

    def _pump(self, source: socket.socket, sink: socket.socket, left: float) -> None:
        with suppress(OSError):
            while left > 0 and (block := source.recv(int(min(BLOCK, left)))):
                sink.sendall(block)
                left -= len(block)
                if self.rate:
                    time.sleep(len(block) / self.rate)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
