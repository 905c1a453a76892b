"""Many clients in one process: websockets and event streams over real sockets, at little cost.

`websockets.py` starts it and asks it, one JSON line after the other, as `contestant.py` is asked:

    {"do": "join", "port": .., "path": .., "count": ..}   opens that many, each checked; {"result": null}
    {"do": "echo", "seconds": .., "text": ..}             every websocket sends, waits for the same text, sends again;
                                                          {"result": [messages, seconds]}
    {"do": "publish", "port": .., "text": ..}             posts it, waits until everybody has it;
                                                          {"result": [seconds until half of them have it, until all]}
    {"do": "say", "text": ..}                             the first websocket sends, the second waits for that text;
                                                          {"result": seconds}
    {"do": "leave"}                                       closes all of them; {"result": null}

Websockets are read by hand: a frame of the server's has no mask, and nothing here is long.
"""

from __future__ import annotations

import json
import resource
import select
import socket
import sys
import traceback
from collections.abc import Callable
from time import perf_counter
from typing import Any

from benchmarks.rows import WrongAnswer

WAVE = 200
"""How many connect at a time: fewer than wait for a busy server to accept them."""
PATIENCE = 60.0
"""Seconds until a missing answer is an error."""


def frame(text: str) -> bytes:
    """A text as a client sends it. A mask of zeros is a mask (RFC 6455 §5.3) and changes nothing."""
    data = text.encode()
    assert len(data) < 126
    return bytes([0x81, 0x80 | len(data)]) + bytes(4) + data


def echoed(text: str) -> bytes:
    """The same text as a server sends it."""
    data = text.encode()
    return bytes([0x81, len(data)]) + data


class Crowd:
    """The sockets, and what is asked of them."""

    def __init__(self) -> None:
        self.sockets: dict[int, socket.socket] = {}
        self.poll = select.epoll()

    def join(self, port: int, path: str, count: int) -> None:
        is_stream = path == "/events"
        is_greeted = path not in ("/text", "/json")
        upgrade = (
            ""
            if is_stream
            else (
                "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            )
        )
        request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{upgrade}\r\n".encode()
        status = b"HTTP/1.1 200 " if is_stream else b"HTTP/1.1 101 "
        while count > 0:
            wave = {}
            for _ in range(min(WAVE, count)):
                client = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                client.setblocking(False)
                client.send(request)
                self.poll.register(client.fileno(), select.EPOLLIN)
                wave[client.fileno()] = client
            self.sockets |= wave
            self.collect(set(wave), status, b"hello" if is_greeted else b"\r\n\r\n")
            count -= len(wave)

    def collect(self, waiting: set[int], start: bytes, end: bytes) -> list[float]:
        """Read until all that wait have got an answer of that start, with that end in it; when each of them had."""
        gathered: dict[int, bytes] = {}
        times = []
        deadline = perf_counter() + PATIENCE
        while waiting:
            if perf_counter() > deadline:
                raise WrongAnswer(f"{len(waiting)} of {len(self.sockets)} have no answer after {PATIENCE} seconds")
            for number, _ in self.poll.poll(1.0, 4096):
                chunk = self.sockets[number].recv(4096)
                if not chunk:
                    raise WrongAnswer("the server has closed a connection")
                if number not in waiting:
                    continue  # A ping.
                data = gathered.get(number, b"") + chunk
                if not data.startswith(start[: len(data)]):
                    raise WrongAnswer(f"expected {start!r}, got {data!r}")
                if end in data:
                    waiting.discard(number)
                    times.append(perf_counter())
                else:
                    gathered[number] = data
        return times

    def echo(self, seconds: float, text: str) -> tuple[int, float]:
        question, answer = frame(text), echoed(text)
        sockets, poll = self.sockets, self.poll.poll
        messages, size = 0, len(answer)
        began = perf_counter()
        for client in sockets.values():
            client.send(question)
        until = began + seconds
        waiting = len(sockets)
        while waiting:
            ready = poll(PATIENCE)
            is_over = perf_counter() > until
            if not ready:
                raise WrongAnswer(f"{waiting} websockets have no answer after {PATIENCE} seconds")
            for number, _ in ready:
                client = sockets[number]
                data = client.recv(size)
                if data != answer:
                    raise WrongAnswer(f"expected {answer!r}, got {data!r}")
                messages += 1
                if is_over:
                    waiting -= 1
                else:
                    client.send(question)
        return messages, perf_counter() - began

    def publish(self, port: int, text: str) -> tuple[float, float]:
        body = text.encode()
        head = f"POST /publish HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {len(body)}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as publisher:
            publisher.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            began = perf_counter()
            publisher.send(head.encode() + body)
            times = self.collect(set(self.sockets), b"", body)
            answer = publisher.recv(4096)
        if not answer.startswith(b"HTTP/1.1 204 "):
            raise WrongAnswer(f"/publish answered {answer!r}")
        return times[len(times) // 2] - began, times[-1] - began

    def say(self, text: str) -> float:
        speaker, listener = list(self.sockets.values())[:2]
        began = perf_counter()
        speaker.send(frame(text))
        self.collect({listener.fileno()}, b"\x81", text.encode())
        return perf_counter() - began

    def leave(self) -> None:
        for client in self.sockets.values():
            self.poll.unregister(client.fileno())
            client.close()
        self.sockets.clear()


def main() -> None:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    crowd = Crowd()
    for line in sys.stdin:
        order = json.loads(line)
        try:
            action: Callable[..., Any] = getattr(crowd, order.pop("do"))
            reply = {"result": action(**order)}
        except Exception:
            reply = {"error": traceback.format_exc()}
        print(json.dumps(reply), flush=True)
    crowd.leave()


if __name__ == "__main__":
    main()
