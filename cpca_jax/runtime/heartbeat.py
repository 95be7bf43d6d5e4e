"""The heartbeat between the processes of one training: who loses another one ends.

Every process holds a connection to the first one and sends a byte each second. A process that is
killed closes its connection, and one that hangs falls silent; who sees it ends with one line. JAX's
own client would abort the process seconds later, with a dump of its stack.
"""

import contextlib
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Iterator

from cpca_jax.runtime import signals

SILENCE_SECONDS = 20.0
_BEAT_SECONDS = 1.0
# A process that is ending well says so; anything else that ends a connection is a loss.
_BEAT, _GOODBYE = b".", b"!"
# How long a checkpoint that is being written delays the end.
_SAVING_SECONDS = 8.0
# How long a new connection may take to say the word of this training, and the word's length.
_INTRODUCTION_SECONDS = 5.0
_WORD_BYTES = 32


class Heartbeat:
    """The connections of one process, each watched by a thread of its own."""

    def __init__(self, *, silence_seconds: float = SILENCE_SECONDS) -> None:
        self._silence = silence_seconds
        self._saving = threading.Lock()
        self._connections: list[socket.socket] = []
        self._leaving = False

    def listen(self, count: int) -> tuple[int, str]:
        """Accept the other processes of `count` in the background.

        Returns:
            The port, and the word by which the others show that they belong here: anybody can
            reach the port, and a stranger's connection must not end a training.
        """
        listener = socket.create_server(("", 0))
        port: int = listener.getsockname()[1]
        word = secrets.token_hex(_WORD_BYTES // 2)

        def accept() -> None:
            expected = set(range(1, count))
            with listener:
                while expected:
                    one, _ = listener.accept()
                    index = _introduced(one, word)
                    if index in expected:
                        expected.discard(index)
                        self.watch(one, index)
                    else:
                        one.close()

        threading.Thread(target=accept, daemon=True).start()
        return port, word

    def connect(self, host: str, port: int, word: str, index: int) -> None:
        """Connect process `index` to the first one, which listens at that port for that word.

        Raises:
            OSError: nothing answers there.
        """
        one = socket.create_connection((host, port), timeout=self._silence)
        one.sendall(word.encode() + index.to_bytes(4, "big"))
        self.watch(one, 0)

    def watch(self, connection: socket.socket, index: int) -> None:
        """Watch the connection to process `index` until either side says goodbye."""
        connection.settimeout(self._silence)
        self._connections.append(connection)
        for work in (self._send, self._receive):
            threading.Thread(target=work, args=(connection, index), daemon=True).start()

    @contextlib.contextmanager
    def saving(self) -> Iterator[None]:
        """Let a checkpoint be written whole before a loss ends this process."""
        with self._saving:
            yield

    def leave(self) -> None:
        """Say goodbye, before this process ends."""
        self._leaving = True
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.sendall(_GOODBYE)

    def _send(self, connection: socket.socket, index: int) -> None:
        with contextlib.suppress(OSError):
            while not self._leaving:
                connection.sendall(_BEAT)
                time.sleep(_BEAT_SECONDS)

    def _receive(self, connection: socket.socket, index: int) -> None:
        why = "closed its connection"
        try:
            while received := connection.recv(64):
                if _GOODBYE in received:
                    return
        except TimeoutError:
            why = f"was silent for {self._silence:g} s"
        except OSError:
            pass
        if not self._leaving:
            self._end(f"process {index} of this training is lost: it {why}")

    def _end(self, reason: str) -> None:
        self._leaving = True
        self._saving.acquire(timeout=_SAVING_SECONDS)
        text = f"{reason}; run the same command again to continue from the last checkpoint\n"
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
        with contextlib.suppress(OSError):
            os.write(2, text.encode())
        # Python's own end would wait for the lost process.
        os._exit(signals.STOPPED)  # which launch files take for "start again"


def _introduced(connection: socket.socket, word: str) -> int:
    """Return the number of the process that has connected and knows the word; 0 for a stranger."""
    connection.settimeout(_INTRODUCTION_SECONDS)
    received = b""
    with contextlib.suppress(OSError):
        while len(received) < _WORD_BYTES + 4 and (more := connection.recv(_WORD_BYTES + 4)):
            received += more
    known = secrets.compare_digest(received[:_WORD_BYTES], word.encode())
    return int.from_bytes(received[_WORD_BYTES : _WORD_BYTES + 4], "big") if known else 0
