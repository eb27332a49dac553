"""Google's Python client obtains an ID token in each way that it has, from the files it is given.

The environment holds INTEROP_AUDIENCE, INTEROP_TARGET, INTEROP_TOKEN_URL and the paths KEY_FILE,
IMPERSONATED_FILE, EXTERNAL_FILE and USER_FILE; it prints the tokens by exchange.
"""

import json
import os

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


def user(request):
    with open(os.environ["USER_FILE"]) as file:
        info = json.load(file)
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


EXCHANGES = [metadata, key_file, impersonated, external_account, user]
print(json.dumps({exchange.__name__: exchange(Request()) for exchange in EXCHANGES}))
