#!/bin/sh
# Send an issue to the readers of a file, and follow it to its end.
set -eu

api() { # api METHOD PATH FILTER [what curl takes]: print what jq finds in the answer; show an error and end
    method=$1 path=$2 filter=$3
    shift 3
    answer=$(curl --silent --show-error --fail-with-body --request "$method" "$COURANT_URL/api/v1$path" \
        --header "Authorization: Bearer $COURANT_KEY" "$@") || { printf '%s\n' "$answer" >&2 && exit 1; }
    printf '%s\n' "$answer" | jq --raw-output "$filter"
}
json="Content-Type: application/json"

# 1. A newsletter.
newsletter=$(api POST /newsletters .id --header "$json" --data '{
    "name": "The Weekly", "slug": "weekly", "from_address": "news@gazette.example",
    "from_name": "The Gazette", "postal_address": "1 Printing House Square, London"}')

# 2. Its readers.
import=$(api POST "/newsletters/$newsletter/imports?consent_source=sign-up+sheet,+spring+fair" .id \
    --header "Content-Type: text/csv" --data-binary "@$COURANT_READERS")
state=queued
while [ "$state" = queued ] || [ "$state" = running ]; do
    sleep 0.5
    state=$(api GET "/imports/$import" .state)
done
api GET "/imports/$import" '"\(.added) readers added, \(.invalid) rows with an error"'

# 3. An issue.
issue=$(api POST "/newsletters/$newsletter/issues" .id --header "$json" --data '{
    "subject": "What happened this week",
    "body": "# Hello {{ subscriber.name | default: \"reader\" }}\n\nA quiet week in {{ subscriber.city }}.\n"}')

# 4. Send it. After a time-out, repeat the request with the same key: it is sent once.
key=$(cat /proc/sys/kernel/random/uuid)
state=$(api POST "/issues/$issue/send" .state --header "Idempotency-Key: $key")

# 5. Follow it.
while [ "$state" = scheduled ] || [ "$state" = sending ]; do
    sleep 0.5
    state=$(api GET "/issues/$issue/progress" .state)
done
api GET "/issues/$issue/progress" '"\(.state): \(.sent) of \(.audience) sent"'

# 6. Who got it.
api GET "/issues/$issue/deliveries" '.items[] | "\(.address) \(.state)"'
