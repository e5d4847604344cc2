"""A body that many share, with everything that can be said of it beforehand; knows no store and no caller."""

import gzip
import hashlib
from typing import Any, Final

# A copy may be kept and must be asked about: a read after an answered write shows the write.
SHARED: Final = b"no-cache"
# Limit: below this a compressed body saves less than its header costs.
SQUEEZE_LEAST: Final = 1_024
SQUEEZE_LEVEL: Final = 5

Headers = list[tuple[bytes, bytes]]
Message = dict[str, Any]


class Prepared:
    """Body, ETag, headers, and on the first asking its compressed form. The messages are for ASGI, never changed."""

    __slots__ = ("_squeezed", "body", "headers", "message", "tag", "unchanged")

    def __init__(self, body: bytes) -> None:
        self.body = body
        # Weak, since the plain and the compressed form share it.
        self.tag = b'W/"%s"' % hashlib.blake2b(body, digest_size=12).hexdigest().encode()
        self.unchanged: Headers = [(b"cache-control", SHARED), (b"etag", self.tag), (b"vary", b"accept-encoding")]
        self.headers = self._said(body)
        self.message: Message = {"type": "http.response.body", "body": body}
        self._squeezed: tuple[Headers, Message] | None = None

    def squeezed(self) -> tuple[Headers, Message]:
        """Headers and message for callers that take gzip; a short body stays plain."""
        if self._squeezed is None:
            if len(self.body) < SQUEEZE_LEAST:
                self._squeezed = self.headers, self.message
            else:
                small = gzip.compress(self.body, SQUEEZE_LEVEL, mtime=0)
                headers = [*self._said(small), (b"content-encoding", b"gzip")]
                self._squeezed = headers, {"type": "http.response.body", "body": small}
        return self._squeezed

    def _said(self, sent: bytes) -> Headers:
        return [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(sent)).encode()),
            *self.unchanged,
        ]
