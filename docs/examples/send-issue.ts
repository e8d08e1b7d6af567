// Send an issue to the readers of a file, and follow it to its end.
import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import createClient from "openapi-fetch";
import type { components, paths } from "./courant.js";

const { COURANT_URL, COURANT_KEY, COURANT_READERS } = process.env;
if (!COURANT_URL || !COURANT_KEY || !COURANT_READERS) throw new Error("Set COURANT_URL, COURANT_KEY, COURANT_READERS.");
const api = createClient<paths>({ baseUrl: COURANT_URL, headers: { Authorization: `Bearer ${COURANT_KEY}` } });

/** Return the answer; errors carry a stable code and a sentence. */
function expect<T>({ data, error }: { data?: T; error?: components["schemas"]["Problem"] }): T {
  if (error || data === undefined) throw new Error(`${error?.code ?? "no answer"}: ${error?.detail ?? ""}`);
  return data;
}

/** A key under which a request may be repeated without acting twice. */
const fresh = () => ({ "Idempotency-Key": randomUUID() });

// 1. A newsletter.
const newsletter = expect(
  await api.POST("/api/v1/newsletters", {
    params: { header: fresh() },
    body: {
      name: "The Weekly",
      slug: "weekly",
      from_address: "news@gazette.example",
      from_name: "The Gazette",
      postal_address: "1 Printing House Square, London",
    },
  }),
);

// 2. Its readers.
let readers = expect(
  await api.POST("/api/v1/newsletters/{newsletter_id}/imports", {
    params: {
      path: { newsletter_id: newsletter.id },
      query: { consent_source: "sign-up sheet, spring fair" },
      header: fresh(),
    },
    headers: { "Content-Type": "text/csv" },
    body: await readFile(COURANT_READERS, "utf8"),
    bodySerializer: (file) => file,
  }),
);
while (readers.state === "queued" || readers.state === "running") {
  await sleep(500);
  readers = expect(await api.GET("/api/v1/imports/{import_id}", { params: { path: { import_id: readers.id } } }));
}
console.log(`${readers.added} readers added, ${readers.invalid} rows with an error`);

// 3. An issue.
const issue = expect(
  await api.POST("/api/v1/newsletters/{newsletter_id}/issues", {
    params: { path: { newsletter_id: newsletter.id }, header: fresh() },
    body: {
      subject: "What happened this week",
      body: '# Hello {{ subscriber.name | default: "reader" }}\n\nA quiet week in {{ subscriber.city }}.\n',
    },
  }),
);
const path = { issue_id: issue.id };

// 4. Send it. After a time-out, repeat the request with the same key: it is sent once.
expect(await api.POST("/api/v1/issues/{issue_id}/send", { params: { path, header: fresh() } }));

// 5. Follow it.
let progress: components["schemas"]["ProgressOut"];
do {
  await sleep(500);
  progress = expect(await api.GET("/api/v1/issues/{issue_id}/progress", { params: { path } }));
  console.log(`${progress.state}: ${progress.sent} of ${progress.audience} sent, ${progress.queued} waiting`);
} while (progress.state === "scheduled" || progress.state === "sending");

// 6. Who got it.
const page = expect(await api.GET("/api/v1/issues/{issue_id}/deliveries", { params: { path } }));
for (const delivery of page.items) console.log(delivery.address, delivery.state);
