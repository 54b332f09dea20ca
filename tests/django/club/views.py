from urllib.parse import quote

from django.contrib.auth import logout
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import Group, User
from django.http import HttpResponse, HttpResponseRedirect, JsonResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_POST

from .api import ask, look


def home(request):
    return render(request, "page.html", {"title": "Home"})


def forum(request):
    return render(request, "page.html", {"title": "Forum"})


@cache_control(private=True)
def profile(request, username):
    """Somebody's page. Who looked at it is shown to those only to whom the Worker tells it."""
    member, topic = get_object_or_404(User, username=username), quote(f"user:{username}", safe="")
    seen = look(request, f"users/{quote(username, safe='')}.json")
    viewers = look(request, f"viewers.json?topic={topic}")
    page = {"title": "Profile", "member": member, "seen": seen, "viewers": viewers}
    response = render(request, "profile.html", page)
    response["X-Presence-Topic"] = topic
    return response


@cache_control(private=True)
def group(request, name):
    group = get_object_or_404(Group, name=name)
    return render(request, "group.html", {"title": name, "group": group, "object": f"group:{group.pk}"})


@require_POST
@login_required
def join(request, name):
    request.user.groups.add(get_object_or_404(Group, name=name))
    return redirect("group", name)


@require_POST
@login_required
def app_password(request):
    """A password for the user's feed reader. It is shown this once, and kept nowhere."""
    user = {"user": request.user.get_username(), "email": request.user.email or None}
    made = ask("POST", "app-passwords", user | {"label": "feed reader"})
    return HttpResponse(made["password"], content_type="text/plain")


@require_POST
@login_required
def goodbye(request):
    """Deletes the user's account, and with it every trace of them in the Worker."""
    user = request.user
    logout(request)
    user.delete()
    return redirect("home")


def latest(request):
    """A redirect to a whole address, which must be the visitor's and not the site's own."""
    return HttpResponseRedirect(request.build_absolute_uri(reverse("forum")))


def export(request):
    """A streamed answer, of which nobody knows the length beforehand."""
    lines = (f"{number}: surf guitars\n" for number in range(5000))
    return StreamingHttpResponse(lines, content_type="text/plain")


def headers(request):
    """The request as the site got it."""
    return JsonResponse({"url": request.build_absolute_uri(), "headers": dict(request.headers)})
