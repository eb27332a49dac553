"""google-auth judges each token of a file: a line of "1" and "0" for each function of it that the
arguments name, or for both.

verify_token is told where the keys are, and does not look at the issuer; verify_oauth2_token does, and
has Google's address built in, so that it comes through the proxy.
"""

import json
import os
import sys

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


def verify_token(token):
    id_token.verify_token(token, fetch, AUDIENCE, certs_url=os.environ["INTEROP_PEM_URL"])


def verify_oauth2_token(token):
    id_token.verify_oauth2_token(token, fetch, AUDIENCE)


def accepts(judge, token):
    try:
        judge(token)
    except Exception:  # whatever it is, it is a refusal
        return False
    return True


JUDGES = [verify_token, verify_oauth2_token]
WANTED = sys.argv[1:] or [judge.__name__ for judge in JUDGES]
with open(os.environ["INTEROP_TOKENS"]) as file:
    TOKENS = json.load(file)
for each in JUDGES:
    if each.__name__ in WANTED:
        print("".join("01"[accepts(each, token)] for token in TOKENS))
