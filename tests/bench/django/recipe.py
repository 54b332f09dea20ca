"""What community sites did: a Django middleware that tells Redis of each visitor, by one of the two usual recipes.

The page itself is fetched from the same origin that the Workers stand in front of, so that each does the same work.
"""

import os
import time

import redis
import urllib3
from django.conf import settings
from django.core.cache import cache
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import re_path

REDIS = f"redis://127.0.0.1:{os.environ['REDIS_PORT']}/0"
ONLINE, LAST_SEEN = 300, 604800

settings.configure(
    SECRET_KEY="only-for-the-bench",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=[f"{__name__}.{os.environ['RECIPE']}"],
    CACHES={"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS}},
)

pool = urllib3.HTTPConnectionPool("127.0.0.1", int(os.environ["ORIGIN_PORT"]), maxsize=32)
store = redis.Redis.from_url(REDIS)


def page(request):
    answer = pool.request("GET", request.get_full_path(), headers={"x-user": request.headers.get("x-user", "")})
    response = HttpResponse(answer.data, status=answer.status, content_type=answer.headers["content-type"])
    if "x-presence-user" in answer.headers:
        response.presence = answer.headers["x-presence-user"]
    return response


def visitor(request, response):
    return getattr(response, "presence", None) or request.headers["cf-connecting-ip"]


def nothing(get_response):
    return get_response


def cache_key(get_response):
    def seen(request):
        response = get_response(request)
        cache.set(f"seen_{visitor(request, response)}", time.time(), LAST_SEEN)
        return response

    return seen


def sorted_set(get_response):
    def seen(request):
        response = get_response(request)
        now = time.time()
        with store.pipeline(transaction=False) as pipeline:
            pipeline.zadd("online", {visitor(request, response): now})
            pipeline.zremrangebyscore("online", 0, now - ONLINE)
            pipeline.execute()
        return response

    return seen


urlpatterns = [re_path("", page)]
application = get_wsgi_application()
