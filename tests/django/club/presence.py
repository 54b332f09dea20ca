from urllib.parse import quote

from django.utils.cache import patch_cache_control


def presence(get_response):
    def tell(request):
        response, user = get_response(request), request.user
        if request.method == "GET" and not response.get("Content-Type", "").startswith("text/html"):
            return response  # on pages alone
        response["X-Presence-User"] = quote(user.get_username(), safe="")  # empty: nobody is signed in
        if user.is_authenticated:
            response["X-Presence-Name"] = quote(user.get_full_name() or user.get_username(), safe="")
            response["X-Presence-Perms"] = "view_viewers" if user.is_staff else ""
            patch_cache_control(response, private=True)
        return response

    return tell
