"""google-auth judges each token of a file: prints "1" or "0" for each, in a line."""

import json
import os

from google.auth.transport import Response
from google.auth.transport.requests import Request
from google.oauth2 import id_token

AUDIENCE = os.environ["INTEROP_AUDIENCE"]
FETCHED = {}


class Answer(Response):
    """What was fetched once, for it fetches the keys for each token."""

    def __init__(self, answer):
        self.status, self.headers, self.data = answer.status, answer.headers, answer.data

    status = headers = data = None


def fetch(url, method="GET", **more):
    if url not in FETCHED:
        FETCHED[url] = Answer(Request()(url, method=method, **more))
    return FETCHED[url]


def accepts(token):
    try:
        id_token.verify_token(token, fetch, AUDIENCE, certs_url=os.environ["INTEROP_PEM_URL"])
    except Exception:  # whatever it is, it is a refusal
        return False
    return True


with open(os.environ["INTEROP_TOKENS"]) as file:
    print("".join("01"[accepts(token)] for token in json.load(file)))
