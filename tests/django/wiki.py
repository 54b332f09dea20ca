"""Another application on the same host. It has no users of its own, and knows the club's by their sign-on."""

import json
import os
from hashlib import sha256
from http.cookies import SimpleCookie
from urllib.parse import unquote
from urllib.request import Request, urlopen
from wsgiref.simple_server import make_server


def visitor(environ):
    cookie = SimpleCookie(environ.get("HTTP_COOKIE", "")).get("presence_sign_on")
    if cookie is None:
        return None
    digest = sha256(unquote(cookie.value).encode()).hexdigest()
    headers = {"Authorization": f"Bearer {os.environ['PRESENCE_ADMIN_TOKEN']}", "User-Agent": "wiki"}
    try:
        with urlopen(Request(f"{os.environ['PRESENCE_URL']}/v1/sign-ons/{digest}", headers=headers), timeout=2) as answer:
            return json.load(answer)["user"]
    except OSError:  # 404 is one: there is no such sign-on
        return None


def wiki(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8"), ("Cache-Control", "private")])
    return [f"Hello, {visitor(environ) or 'stranger'}!".encode()]


with make_server("127.0.0.1", 0, wiki) as server:
    print(f"The wiki is at http://127.0.0.1:{server.server_port}/", flush=True)
    server.serve_forever()
