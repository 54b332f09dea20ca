from django.apps import AppConfig


class Club(AppConfig):
    name = "club"

    def ready(self):
        from . import signals  # noqa: F401
