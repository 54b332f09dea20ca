from django.utils.crypto import salted_hmac

BLOCK_KEY = salted_hmac("club.blocks", "key").hexdigest()  # made of SECRET_KEY: no visitor knows it


def blocks(get_response):
    def announce(request):
        response = get_response(request)
        if response.streaming:
            return response  # a view that streams blocks sets the header itself
        # Looked for in the text, as parts of it may come out of a cache. What is compressed may hold some.
        if response.has_header("Content-Encoding") or BLOCK_KEY.encode() in response.content:
            response["X-Presence-Blocks"] = BLOCK_KEY
        return response

    return announce
