from django.contrib.auth.decorators import login_required
from django.http import HttpResponseRedirect, JsonResponse, StreamingHttpResponse
from django.shortcuts import render
from django.urls import reverse


def home(request):
    return render(request, "page.html", {"title": "Home"})


def forum(request):
    return render(request, "page.html", {"title": "Forum"})


@login_required
def profile(request):
    return render(request, "page.html", {"title": "Profile"})


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
