"""Asks a server for the same address every few milliseconds, in a process of its own; never changes anything.

Run as `python bench/prober.py PORT PATH`; ends when its standard input ends, and prints the times as JSON.
"""

import json
import socket
import sys
import threading
import time

PAUSE_S = 0.01


def main():
    port, path = int(sys.argv[1]), sys.argv[2]
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    took_ms = []
    with socket.create_connection(("127.0.0.1", port)) as line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
        while not ended.is_set():
            began = time.perf_counter()
            line.sendall(request)
            read_answer(line)
            took_ms.append((time.perf_counter() - began) * 1000)
            time.sleep(PAUSE_S)
    print(json.dumps(took_ms))


def read_answer(line):
    data = b""
    while b"\r\n\r\n" not in data:
        data += line.recv(65_536)
    head, _, body = data.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    missing = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]) - len(body)
    while missing > 0:
        missing -= len(line.recv(65_536))


if __name__ == "__main__":
    main()
