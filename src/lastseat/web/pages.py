"""Serves the two pages and their files from memory, compressed once at start; knows no student and no exam."""

import gzip
import hashlib
from importlib.resources import files
from typing import NamedTuple

from fastapi import FastAPI, Request, Response

from lastseat.errors import Refused
from lastseat.web.wanted import names_tag, said, takes_gzip

TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


class Page(NamedTuple):
    """One static file, ready to send."""

    body: bytes
    squeezed: bytes
    kind: str
    tag: str

    def answer(self, request: Request) -> Response:
        """The file, gzipped when the browser takes it, or 304."""
        headers = {"cache-control": "no-cache", "etag": self.tag, "vary": "accept-encoding"}
        lines = request.headers.raw
        if names_tag(said(lines, b"if-none-match"), self.tag.encode()):
            return Response(status_code=304, headers=headers)
        headers["content-type"] = self.kind
        if takes_gzip(said(lines, b"accept-encoding")):
            return Response(self.squeezed, headers={**headers, "content-encoding": "gzip"})
        return Response(self.body, headers=headers)


def install(app: FastAPI, *, demo: bool) -> None:
    """`/sign-in` takes a token from a link: only in demo mode, where nobody can be tricked into another account."""
    pages = load()

    async def home(request: Request) -> Response:
        return pages["index.html"].answer(request)

    async def admin(request: Request) -> Response:
        return pages["admin.html"].answer(request)

    async def sign_in(request: Request) -> Response:
        return pages["sign-in.html"].answer(request)

    async def static(request: Request) -> Response:
        page = pages.get(request.path_params["name"])
        if page is None:
            raise Refused("There is nothing at this address.", code="NOT_FOUND")
        return page.answer(request)

    app.add_route("/", home, methods=["GET"])
    app.add_route("/admin", admin, methods=["GET"])
    app.add_route("/static/{name}", static, methods=["GET"])
    if demo:
        app.add_route("/sign-in", sign_in, methods=["GET"])


def load() -> dict[str, Page]:
    """Every file of the folder `static` by its name."""
    folder = files("lastseat.web").joinpath("static")
    return {file.name: _page(file.name, file.read_bytes()) for file in folder.iterdir() if file.is_file()}


def _page(name: str, body: bytes) -> Page:
    kind = TYPES["." + name.rpartition(".")[2]]
    # Weak, since the plain and the gzipped form share it.
    tag = f'W/"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
    return Page(body, gzip.compress(body, mtime=0), kind, tag)
