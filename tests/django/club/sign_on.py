"""One sign-on for several applications: a cookie that stands for whoever is logged in here."""

from hashlib import sha256
from secrets import token_urlsafe
from urllib.parse import quote, unquote

from django.conf import settings
from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.dispatch import receiver

from .api import ask

COOKIE = "presence_sign_on"


def path(value):
    return f"sign-ons/{sha256(value.encode()).hexdigest()}"


@receiver(user_logged_out)
def end(request, **kwargs):
    if value := request.COOKIES.get(COOKIE):
        ask("DELETE", path(unquote(value)))
    request.sign_on = ""


@receiver(user_logged_in)
def begin(request, user, **kwargs):
    end(request)
    request.sign_on = f"{user.get_username()}#{user.email}#{token_urlsafe(16)}"
    known = {"user": user.get_username(), "name": user.get_full_name() or None, "ttl": settings.SESSION_COOKIE_AGE}
    ask("PUT", path(request.sign_on), known)


def sign_on(get_response):
    def set_cookie(request):
        response = get_response(request)
        value = getattr(request, "sign_on", None)
        if value:
            # Percent-encoded, as a cookie holds neither every letter nor @ as it is.
            age, secure = settings.SESSION_COOKIE_AGE, request.is_secure()
            response.set_cookie(COOKIE, quote(value, safe=""), age, secure=secure, httponly=True, samesite="Lax")
        elif value == "":
            response.delete_cookie(COOKIE, samesite="Lax")
        return response

    return set_cookie
