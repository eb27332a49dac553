"""Google's Python client obtains an ID token in each way that it has, from the files it is given.

The environment holds INTEROP_AUDIENCE, INTEROP_TARGET, INTEROP_TOKEN_URL, INTEROP_JWKS_URL,
INTEROP_PEM_URL and the paths KEY_FILE, IMPERSONATED_FILE, EXTERNAL_FILE and USER_FILE. It asks for the
exchanges that its arguments name, or for all; INTEROP_ASKS times at most, a second apart. For each it
prints the token and the errors on the way; with INTEROP_VERIFY, after verifying the token itself.
"""

import json
import os
import sys
import time

from google.auth import identity_pool, impersonated_credentials, load_credentials_from_file
from google.auth.transport.requests import Request
from google.oauth2 import credentials, id_token, service_account

AUDIENCE = os.environ["INTEROP_AUDIENCE"]
TARGET = os.environ["INTEROP_TARGET"]
SCOPES = ["https://www.googleapis.com/auth/cloud-platform"]


def refreshed(source, request):
    source.refresh(request)
    return source.token


def metadata(request):
    return id_token.fetch_id_token(request, AUDIENCE)


def key_file(request):
    return refreshed(
        service_account.IDTokenCredentials.from_service_account_file(
            os.environ["KEY_FILE"], target_audience=AUDIENCE
        ),
        request,
    )


def as_target(source, request):
    return refreshed(
        impersonated_credentials.IDTokenCredentials(
            source, target_audience=AUDIENCE, include_email=True
        ),
        request,
    )


def impersonated(request):
    source, _ = load_credentials_from_file(os.environ["IMPERSONATED_FILE"], scopes=SCOPES)
    return as_target(source, request)


def external_account(request):
    # It has no ID tokens of its own for these: the workload impersonates by hand.
    with open(os.environ["EXTERNAL_FILE"]) as file:
        info = json.load(file)
    info.pop("service_account_impersonation_url")
    source = impersonated_credentials.Credentials(
        source_credentials=identity_pool.Credentials.from_info(info, scopes=SCOPES),
        target_principal=TARGET,
        target_scopes=SCOPES,
    )
    return as_target(source, request)


def external_access_token(request):
    # What it is for in its eyes; the only exchange here whose token is none for an audience.
    source = identity_pool.Credentials.from_file(os.environ["EXTERNAL_FILE"], scopes=SCOPES)
    return refreshed(source, request)


def user_info():
    with open(os.environ["USER_FILE"]) as file:
        return json.load(file)


def user(request):
    info = user_info()
    # It ignores the file's own token_uri.
    source = credentials.Credentials(
        None,
        refresh_token=info["refresh_token"],
        client_id=info["client_id"],
        client_secret=info["client_secret"],
        token_uri=os.environ["INTEROP_TOKEN_URL"],
    )
    source.refresh(request)
    return source.id_token


def verify(exchange, token):
    audience = user_info()["client_id"] if exchange == "user" else AUDIENCE
    for form in ["INTEROP_JWKS_URL", "INTEROP_PEM_URL"]:
        keys = os.environ[form]
        id_token.verify_token(token, Request(), audience, certs_url=keys)
        # A verification that says yes to everything would prove nothing.
        try:
            id_token.verify_token(token, Request(), "https://other.example", certs_url=keys)
        except Exception:  # whatever it is, it is a refusal
            continue
        raise AssertionError(f"{exchange}: accepted for another audience")


def asked(exchange):
    errors, token, started = [], None, time.monotonic()
    for ask in range(int(os.environ.get("INTEROP_ASKS", 1))):
        if ask:
            time.sleep(1)
        try:
            token = exchange(Request())
            break
        except Exception as error:  # the test says which are right
            errors.append(f"{type(error).__name__}: {error}")
    if token and "INTEROP_VERIFY" in os.environ:
        verify(exchange.__name__, token)
    return {"token": token, "errors": errors, "seconds": time.monotonic() - started}


EXCHANGES = [metadata, key_file, impersonated, external_account, external_access_token, user]
WANTED = sys.argv[1:] or [exchange.__name__ for exchange in EXCHANGES]
print(json.dumps({e.__name__: asked(e) for e in EXCHANGES if e.__name__ in WANTED}))
