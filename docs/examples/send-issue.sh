#!/bin/sh
# Send an issue to the readers of a file, and follow it to its end.
set -eu

api() { # api METHOD PATH [what curl takes]
    method=$1 path=$2
    shift 2
    curl --silent --show-error --fail-with-body --request "$method" "$COURANT_URL/api/v1$path" \
        --header "Authorization: Bearer $COURANT_KEY" "$@"
}
json="Content-Type: application/json"

# 1. A newsletter.
newsletter=$(api POST /newsletters --header "$json" --data '{
    "name": "The Weekly", "slug": "weekly", "from_address": "news@gazette.example",
    "from_name": "The Gazette", "postal_address": "1 Printing House Square, London"}' | jq -r .id)

# 2. Its readers.
import=$(api POST "/newsletters/$newsletter/imports?consent_source=sign-up+sheet,+spring+fair" \
    --header "Content-Type: text/csv" --data-binary "@$COURANT_READERS" | jq -r .id)
until api GET "/imports/$import" | jq -e '.state == "done" or .state == "failed"' >/dev/null; do sleep 0.5; done
api GET "/imports/$import" | jq -r '"\(.added) readers added, \(.invalid) rows with an error"'

# 3. An issue.
issue=$(api POST "/newsletters/$newsletter/issues" --header "$json" --data '{
    "subject": "What happened this week",
    "body": "# Hello {{ subscriber.name | default: \"reader\" }}\n\nA quiet week in {{ subscriber.city }}.\n"}' | jq -r .id)

# 4. Send it. After a time-out, repeat the request with the same key: it is sent once.
key=$(cat /proc/sys/kernel/random/uuid)
api POST "/issues/$issue/send" --header "Idempotency-Key: $key" >/dev/null

# 5. Follow it.
until api GET "/issues/$issue/progress" | jq -e '.state != "sending"' >/dev/null; do sleep 0.5; done
api GET "/issues/$issue/progress" | jq -r '"\(.state): \(.sent) of \(.audience) sent"'

# 6. Who got it.
api GET "/issues/$issue/deliveries" | jq -r '.items[] | "\(.address) \(.state)"'
