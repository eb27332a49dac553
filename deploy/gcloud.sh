#!/usr/bin/env bash
# What terraform/main.tf does, by hand, and the containers too. May be run again.
#   PROJECT=… REGION=… deploy/gcloud.sh      from the root of the repository
set -euo pipefail
: "${PROJECT:?the project}" "${REGION:?the region}"
export CLOUDSDK_CORE_PROJECT=$PROJECT CLOUDSDK_RUN_REGION=$REGION
hello=hello@$PROJECT.iam.gserviceaccount.com
front=front@$PROJECT.iam.gserviceaccount.com
images=$REGION-docker.pkg.dev/$PROJECT/functions

echo "== services of Google's"
gcloud services enable \
    run.googleapis.com artifactregistry.googleapis.com iam.googleapis.com

echo "== accounts"
for account in "$hello" "$front"; do
    gcloud iam service-accounts describe "$account" >/dev/null 2>&1 ||
        gcloud iam service-accounts create "${account%%@*}"
done

echo "== containers"
gcloud artifacts repositories describe functions --location "$REGION" >/dev/null 2>&1 ||
    gcloud artifacts repositories create functions --location "$REGION" --repository-format docker
gcloud auth configure-docker --quiet "$REGION-docker.pkg.dev"
docker build -f deploy/Dockerfile -t "$images/hello" --build-arg EXAMPLE=function .
docker build -f deploy/Dockerfile -t "$images/front" --build-arg EXAMPLE=caller .
docker push "$images/hello"
docker push "$images/front"

echo "== hello: nobody gets past Google's front end without roles/run.invoker"
gcloud run deploy hello --image "$images/hello" --service-account "$hello" \
    --no-allow-unauthenticated --set-env-vars "AUDIENCE=hello,CALLERS=$front"
gcloud run services update hello --add-custom-audiences hello
gcloud run services add-iam-policy-binding hello \
    --member "serviceAccount:$front" --role roles/run.invoker
hello_url=$(gcloud run services describe hello --format 'value(status.url)')

echo "== front"
gcloud run deploy front --image "$images/front" --service-account "$front" \
    --no-allow-unauthenticated \
    --set-env-vars "HELLO_URL=$hello_url,HELLO_AUDIENCE=hello"
gcloud run services add-iam-policy-binding front \
    --member "user:$(gcloud config get-value account)" --role roles/run.invoker
front_url=$(gcloud run services describe front --format 'value(status.url)')

echo "== a call; a new grant takes some minutes to work"
curl --fail-with-body --retry 5 --retry-all-errors --retry-delay 30 \
    -H "Authorization: Bearer $(gcloud auth print-identity-token)" "$front_url"

# On a laptop: speak for front without a key, `idtoken print --impersonate front@…`.
#   gcloud iam service-accounts add-iam-policy-binding "$front" \
#       --member "user:$(gcloud config get-value account)" \
#       --role roles/iam.serviceAccountOpenIdTokenCreator
