"""Google's Python client against the emulator: fetches ID tokens, verifies them, prints them.

The environment names the emulator (GCE_METADATA_HOST and its like) and:
INTEROP_AUDIENCE, INTEROP_KEY_FILE, INTEROP_JWKS_URL, INTEROP_PEM_URL.
"""

import json
import os

import jwt
from google.auth import jwt as google_jwt
from google.auth.transport.requests import Request
from google.oauth2 import id_token, service_account

AUDIENCE = os.environ["INTEROP_AUDIENCE"]
CERTIFICATES = {"jwks": os.environ["INTEROP_JWKS_URL"], "pem": os.environ["INTEROP_PEM_URL"]}


def from_metadata_server(request):
    return id_token.fetch_id_token(request, AUDIENCE)


def from_key_file(request):
    credentials = service_account.IDTokenCredentials.from_service_account_file(
        os.environ["INTEROP_KEY_FILE"], target_audience=AUDIENCE
    )
    credentials.refresh(request)
    return credentials.token


def verify(request, token, url):
    claims = id_token.verify_token(token, request, AUDIENCE, certs_url=url)
    assert claims["aud"] == AUDIENCE
    # A verification that says yes to everything would prove nothing.
    try:
        id_token.verify_token(token, request, "https://other.example", certs_url=url)
    except (ValueError, jwt.InvalidAudienceError):
        return claims["email"]
    raise AssertionError("a token for another audience was accepted")


def judged(token, certificates):
    """Whether google-auth accepts the token; it looks at signature, times and audience."""
    try:
        google_jwt.decode(token, certs=certificates, audience=AUDIENCE)
    except Exception:  # whatever it is, it is a refusal
        return False
    return True


def judge(request):
    """One verdict a line for the tokens in the file, each as "1" or "0"."""
    certificates = json.loads(request(CERTIFICATES["pem"], method="GET").data)
    with open(os.environ["INTEROP_TOKENS"]) as tokens:
        print("".join("01"[judged(line.rstrip("\n"), certificates)] for line in tokens))


def main():
    request = Request()
    if "INTEROP_TOKENS" in os.environ:
        return judge(request)
    report = {}
    for name, fetch in [("metadata", from_metadata_server), ("key_file", from_key_file)]:
        token = fetch(request)
        emails = {form: verify(request, token, url) for form, url in CERTIFICATES.items()}
        report[name] = {"token": token, "emails": emails}
    print(json.dumps(report))


main()
