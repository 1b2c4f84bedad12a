"""Who may ask: Host and Origin checks, the token, and the headers that keep the page to itself.

A page of another site must not reach this server through its visitor's browser. It cannot read
answers (no CORS headers are ever sent), cannot open the socket (Origin must be our own), and cannot
become same-origin by pointing its own name at our address (Host must be a name we go by).
"""

from __future__ import annotations

import hmac
import ipaddress
import os
import secrets
import socket
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from .config import ServerConfig

COOKIE = "auralis_token"
OPEN_PATHS = ("/healthz",)

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
        "media-src 'self' blob:; connect-src 'self' {sockets}; worker-src 'self' blob:; "
        "manifest-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    # The pair that makes the page cross-origin isolated, so that SharedArrayBuffer exists.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def hostname(host: str) -> str | None:
    """The name or address in a Host header, lower case, without port and brackets; None if malformed."""
    try:
        parts = urlsplit(f"//{host}")
        parts.port  # noqa: B018 - raises when it is no number
    except ValueError:
        return None
    if parts.netloc != host or "@" in host:
        return None
    return parts.hostname


def is_known_host(host: str, config: ServerConfig) -> bool:
    """Whether `host`, a Host header, is a name this server goes by.

    An address literal is always its own name: a rebinding attack needs a name that resolves.
    """
    name = hostname(host)
    if name is None:
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        known = {"localhost", config.host.lower(), *(h.lower() for h in config.allowed_hosts)}
        if not config.is_loopback:
            known.add(socket.gethostname().lower())
        return name.rstrip(".") in known
    return True


def is_own_origin(origin: str | None, host: str) -> bool:
    """Whether a socket may be opened from `origin`: our own page, or no browser at all."""
    return origin is None or origin.lower() in (f"http://{host.lower()}", f"https://{host.lower()}")


def needed_token(config: ServerConfig) -> tuple[str | None, bool]:
    """The token clients must show, None on a loopback address without one, and whether it is new.

    Made at first need and kept beside the dataset, readable by its owner only.
    """
    if config.token is not None or config.is_loopback:
        return config.token, False
    path = config.database.with_suffix(".token")
    try:
        return path.read_text("ascii").strip(), False
    except FileNotFoundError:
        token = secrets.token_urlsafe(24)
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="ascii") as f:
            f.write(token + "\n")
        return token, True


def guard(config: ServerConfig, token: str | None) -> Middleware:
    """The middleware every request passes first."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        host = request.headers.get("Host", "")
        if not is_known_host(host, config):
            raise web.HTTPMisdirectedRequest(reason="unknown host")
        acts = request.path == "/ws" or request.method not in ("GET", "HEAD")
        if acts and not is_own_origin(request.headers.get("Origin"), host):
            raise web.HTTPForbidden(reason="foreign origin")
        if token is None or request.path in OPEN_PATHS:
            return await handler(request)
        shown = request.query.get("token")
        if shown is not None and request.method == "GET" and request.path == "/" and _same(shown, token):
            # From the address bar into a cookie, so that it does not stay in the history.
            welcome = web.HTTPFound("/")
            welcome.set_cookie(COOKIE, token, max_age=365 * 86400, httponly=True, samesite="Strict")
            raise welcome
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not any(_same(given, token) for given in (shown, bearer, request.cookies.get(COOKIE)) if given):
            raise web.HTTPUnauthorized(reason="token required", headers={"WWW-Authenticate": "Bearer"})
        return await handler(request)

    return check


async def harden(request: web.Request, response: web.StreamResponse) -> None:
    """Add the protective headers to every answer."""
    host = request.headers.get("Host", "")
    sockets = f"ws://{host} wss://{host}"
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value.replace("{sockets}", sockets))


def _same(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode(), token.encode())
