"""A file server on the loopback interface that can break off, forget about ranges, or refuse."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Behaviour:
    """What the server does, and the headers `Range` and `If-Range` of the requests that it saw.

    `breaks` holds for each answer in turn how many bytes it sends before the connection breaks, None for all of
    them; later answers are whole.
    """

    content: bytes
    ranges: bool = True
    breaks: list[int | None] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=lambda: {"ETag": '"one"'})
    content_range: str | None = None
    announced: bool = True
    requests: list[tuple[str | None, str | None]] = field(default_factory=list)


@contextmanager
def serve(behaviour: Behaviour) -> Iterator[str]:
    """Serve one file under any path and yield the address of the server."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked, condition = self.headers["Range"], self.headers["If-Range"]
            behaviour.requests.append((asked, condition))
            status = behaviour.statuses.pop(0) if behaviour.statuses else 200
            if status != 200:
                self.send_error(status)
                return
            content, start = behaviour.content, 0
            same = condition is None or condition in behaviour.headers.values()
            if asked and behaviour.ranges and same:
                start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
                self.send_response(206)
                stated = f"bytes {start}-{len(content) - 1}/{len(content)}"
                self.send_header("Content-Range", behaviour.content_range or stated)
            else:
                self.send_response(200)
            for name, value in behaviour.headers.items():
                self.send_header(name, value)
            if behaviour.announced:
                self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            stop = behaviour.breaks.pop(0) if behaviour.breaks else None
            self.wfile.write(content[start:][:stop])

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
