"""A small site with users, for the Worker to stand in front of."""

import os
from pathlib import Path

HERE = Path(__file__).parent

SECRET_KEY = "only for tests: this site is never served to anybody"
DEBUG = True
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]

# The Worker says under which address the visitor sees the site, so that links, redirects and the CSRF check use that one.
USE_X_FORWARDED_HOST = True
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

# Where the site reaches the Worker, and what it shows there. The host is the one that visitors see, or SITE is set there.
PRESENCE_URL = os.environ.get("PRESENCE_URL", "http://localhost:8787/_presence")
PRESENCE_ADMIN_TOKEN = os.environ["PRESENCE_ADMIN_TOKEN"]

SESSION_ENGINE = "club.sessions"
SESSION_COOKIE_NAME = "presence_session"  # by which the Worker knows it

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.staticfiles",
    "club",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "club.presence.presence",
    "club.blocks.blocks",
    "club.sign_on.sign_on",
]
ROOT_URLCONF = "club.urls"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [HERE / "templates"],
        "OPTIONS": {
            "context_processors": [
                "django.contrib.auth.context_processors.auth",
                "django.template.context_processors.request",
            ]
        },
    }
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ["CLUB_DATABASE"],
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STATIC_URL = "static/"
STATICFILES_DIRS = [HERE / "static"]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "home"
USE_TZ = True
