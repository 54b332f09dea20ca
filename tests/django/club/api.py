"""What the site asks the Worker: for itself, with the admin token, or for a visitor, with their cookies."""

import json
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from django.conf import settings


def ask(method, path, body=None, headers=None, patience=2):
    """The answer to the site itself; None where there is no such thing."""
    token = {"Authorization": f"Bearer {settings.PRESENCE_ADMIN_TOKEN}", "Content-Type": "application/json"}
    try:
        return _fetch(method, path, token | (headers or {}), body, patience)
    except HTTPError as error:
        if error.code == 404:
            return None
        raise


def look(request, path):
    """What this visitor may see; None where that is nothing, and where the Worker cannot be reached."""
    try:
        return _fetch("GET", path, {"Cookie": request.headers.get("Cookie", "")})
    except OSError:
        return None


def _fetch(method, path, headers, body=None, patience=2):
    # Under its own name, urllib is turned away by what Cloudflare has against scripts.
    headers["User-Agent"] = "club"
    data = None if body is None else json.dumps(body).encode()
    request = Request(f"{settings.PRESENCE_URL}/v1/{path}", data, headers, method=method)
    try:
        with urlopen(request, timeout=patience) as answer:
            return json.loads(answer.read() or "{}")
    except (HTTPException, ValueError) as error:
        raise ConnectionError("that was no answer of the Worker's") from error
