#!/usr/bin/env bash
# What terraform/main.tf does, by hand: two accounts, one grant, one custom audience.
#   PROJECT=… REGION=… deploy/gcloud.sh
set -euo pipefail
: "${PROJECT:?the project}" "${REGION:?the region}"

for name in front hello; do
    gcloud iam service-accounts create "$name" --project "$PROJECT"
done

# Only the caller may call. Without --allow-unauthenticated nobody else gets past Google's front end.
gcloud run services add-iam-policy-binding hello --project "$PROJECT" --region "$REGION" \
    --member "serviceAccount:front@$PROJECT.iam.gserviceaccount.com" --role roles/run.invoker

gcloud run services update hello --project "$PROJECT" --region "$REGION" \
    --add-custom-audiences hello

# On a laptop: speak for the caller without a key. The grant takes some minutes to work.
gcloud iam service-accounts add-iam-policy-binding "front@$PROJECT.iam.gserviceaccount.com" \
    --project "$PROJECT" --member "user:$(gcloud config get-value account)" \
    --role roles/iam.serviceAccountOpenIdTokenCreator
