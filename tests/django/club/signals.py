"""What the Worker is told when users and groups change."""

from urllib.parse import quote

from django.contrib.auth.models import Group, User
from django.db import transaction
from django.db.models.signals import m2m_changed, post_delete, pre_delete
from django.dispatch import receiver

from .api import ask


@receiver(m2m_changed, sender=User.groups.through)
def grant(instance, action, reverse, pk_set, **kwargs):
    """Whoever is in a group may edit its page."""
    method = {"post_add": "PUT", "post_remove": "DELETE", "pre_clear": "DELETE"}.get(action)
    if method is None:
        return
    if pk_set is None:  # as all are to be cleared
        others = (instance.user_set if reverse else instance.groups).all()
    else:
        others = (User if reverse else Group).objects.filter(pk__in=pk_set)
    for other in others:
        user, group = (other, instance) if reverse else (instance, other)
        ask(method, "grants", {"user": user.get_username(), "permission": "can_edit", "object": f"group:{group.pk}"})


@receiver(pre_delete, sender=Group)
def revoke(instance, **kwargs):
    instance.user_set.clear()


@receiver(post_delete, sender=User)
def erase(instance, **kwargs):
    path = f"users/{quote(instance.get_username(), safe='')}"
    # To erase for good may take a while. Where that fails it can be done again, from a job.
    transaction.on_commit(lambda: ask("DELETE", path, patience=80), robust=True)
