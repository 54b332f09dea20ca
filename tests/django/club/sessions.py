"""Sessions in the Worker's store, by which it knows the visitor too."""

import logging
import re
from urllib.error import HTTPError

from django.contrib.auth.signals import user_logged_in
from django.contrib.sessions.backends.base import CreateError, SessionBase, UpdateError
from django.dispatch import receiver

from .api import ask

USER = "presence_user"


@receiver(user_logged_in)
def name_user(request, user, **kwargs):
    # A session knows the user's primary key alone. The Worker is to know them by what the middleware calls them.
    request.session[USER] = user.get_username()


class SessionStore(SessionBase):
    unread = None

    def _validate_session_key(self, key):
        # A browser may send anything, and a key becomes a part of an address.
        return key and re.fullmatch("[a-z0-9]{32}", key)

    def exists(self, session_key):
        return ask("HEAD", f"sessions/{session_key}") is not None

    def create(self):
        while True:
            self._session_key = self._get_new_session_key()
            try:
                self.save(must_create=True)
            except CreateError:
                continue
            self.modified = True
            return

    def load(self):
        try:
            session = ask("GET", f"sessions/{self.session_key}")
        except OSError:
            # Pages go on, for a guest. The key is kept: the session will be there when the store is.
            logging.getLogger(__name__).exception("a session could not be loaded")
            self.unread = self.session_key
            return {}
        if session is None:
            self._session_key = None
            return {}
        return self.decode(session["value"])

    def save(self, must_create=False):
        if self.session_key is None:
            return self.create()
        if self.session_key == self.unread:
            raise ConnectionError("the session could not be loaded: to save it now would empty it")
        data = self._get_session(no_load=must_create)
        body = {"value": self.encode(data), "ttl": max(1, self.get_expiry_age()), "user": data.get(USER)}
        condition = "If-None-Match" if must_create else "If-Match"
        try:
            ask("PUT", f"sessions/{self.session_key}", body, {condition: "*"})
        except HTTPError as error:
            if error.code == 412:
                raise (CreateError if must_create else UpdateError) from error
            raise

    def delete(self, session_key=None):
        if session_key := session_key or self.session_key:
            ask("DELETE", f"sessions/{session_key}")

    @classmethod
    def clear_expired(cls):
        """The store does."""
