"""Every code that the API can answer an error with: its status, what it means, and which of them go together.

An operation names its own codes in `contract`; `config.openapi` adds those of every operation and writes
them into the document. A code never changes its meaning or its status; a new one is no breaking change.
"""

from __future__ import annotations

MEANINGS: dict[int, dict[str, str]] = {
    400: {
        "bad_request": "The request cannot be understood: a wrong host, more than 1,000 parameters.",
        "length_required": "A body came without a Content-Length.",
        "invalid_json": "The body is not JSON in UTF-8.",
        "body_incomplete": "The body ended before its Content-Length.",
        "invalid_query": "The query string is not UTF-8.",
        "invalid_cursor": "The cursor does not belong to this list and its filters.",
        "idempotency_key_required": "The header Idempotency-Key is missing.",
        "invalid_idempotency_key": "Idempotency-Key is not 1 to 255 printable ASCII characters.",
    },
    401: {
        "not_authenticated": "No key, or one that is unknown, revoked or expired.",
        "key_in_url": "A key stands in the address, where logs keep it: revoke it and send a new one in the header.",
    },
    403: {
        "scope_missing": "The key lacks a scope that this needs.",
        "key_limited": "The key is for some newsletters, and this concerns what newsletters share.",
    },
    404: {"not_found": "There is no such object, or it belongs to somebody else."},
    409: {
        "changed_meanwhile": "Somebody else changed this at the same moment; look at it and try again.",
        "newsletter_slug_taken": "Another newsletter of this publisher has this slug.",
        "newsletter_is_sending": "An issue of this newsletter is under way.",
        "reader_unsubscribed": "This reader left and comes back by an own request only.",
        "subscription_changed": "The subscription has just been changed by somebody else.",
        "issue_not_editable": "Only draft and scheduled issues can be changed.",
        "issue_not_deletable": "Only drafts can be deleted.",
        "issue_already_started": "Proofs come before the start.",
        "issue_not_sendable": "Only a draft or a scheduled issue can be sent.",
        "issue_not_schedulable": "Only a draft or a scheduled issue can be scheduled.",
        "issue_not_scheduled": "The issue is not scheduled.",
        "issue_not_pausable": "Only a sending issue can be paused.",
        "issue_not_resumable": "Only a paused or blocked issue can be resumed.",
        "issue_not_cancellable": "The issue has not started, or has ended.",
        "issue_not_resendable": "The issue is cancelled; nothing of it can be sent again.",
        "delivery_not_held": "Only a held delivery can be decided.",
        "sending_blocked": "The database was restored and the operator has not accepted that yet.",
        "destination_exists": "The domain is listed already.",
    },
    412: {"precondition_failed": "It has changed since the answer whose ETag If-Match names."},
    413: {
        "body_too_large": "The body is larger than this operation takes.",
        "import_too_large": "The file has more than 50 MB or 1,000,000 rows.",
    },
    415: {
        "media_type_not_supported": "Content-Type is not the one that this operation takes, in UTF-8.",
        "content_encoding_not_supported": "The body came with a Content-Encoding.",
        "import_not_csv": "The file is an archive, a spreadsheet or an image.",
    },
    422: {
        "invalid_values": "Several values are not acceptable; `errors` lists them.",
        "invalid_value": "The value is not acceptable.",
        # The body as JSON.
        "object_expected": "The body must be a JSON object.",
        "duplicate_key": "The same key stands twice in an object.",
        "number_not_finite": "NaN, Infinity, or a number too large to be kept.",
        "number_too_large": "A whole number of more than 19 digits.",
        "too_deep": "Values are nested more than 32 levels deep.",
        "too_many_keys": "An object has more than 1,000 keys.",
        # Any value.
        "required": "It was left out and is needed.",
        "unknown_field": "There is no such field.",
        "wrong_type": "It is of another JSON type.",
        "not_one_of": "It is none of the values that the document lists.",
        "too_long": "Longer than allowed.",
        "too_short": "Shorter than allowed.",
        "wrong_form": "Not of the form that the document gives.",
        "out_of_range": "Smaller or larger than allowed.",
        "blank": "There is nothing to see in it.",
        "control_character": "A line break or a control character that must not stand here.",
        "lone_surrogate": "Half of a surrogate pair is not a character.",
        "nothing_to_change": "The body names no field.",
        # Query parameters.
        "unknown_parameter": "There is no such query parameter.",
        "repeated_parameter": "A query parameter was given twice.",
        "filter_required": "This list needs `state=held` or `uncertain=true`.",
        # Single fields.
        "invalid_address": "Not one plain mailbox on a public domain.",
        "address_suppressed": "This address takes no mail from you any more.",
        "encoded_word": 'The text contains "=?", which begins an encoded word.',
        "only_spaces": "There is nothing to see in the text.",
        "invalid_domain": "Not a domain that mail can reach.",
        "too_many_attributes": "More than 64 attributes.",
        "invalid_attribute_name": "Not up to 40 lower-case letters, digits and underscores, a letter first.",
        "invalid_attribute_value": "Neither text of at most 1,024 characters, number, true, false nor null.",
        "invalid_consent_source": "Not 1 to 200 characters.",
        "invalid_time": "Not a time such as 2026-12-24T08:00.",
        "time_does_not_exist": "The clocks skip that time.",
        "too_far": "More than a year ahead.",
        # An issue's text.
        "unknown_tag": "There is no such merge tag.",
        "unclosed_tag": "A merge tag is not closed.",
        "too_many_tags": "More merge tags than a text may have.",
        "misplaced_tag": "`{{ unsubscribe_url }}` stands where no link can be.",
        "tag_in_style": "A merge tag stands in a style attribute.",
        "invalid_link": "A link or an image has an address that mail cannot use.",
        "html_too_complex": "The HTML is nested too deeply or has too many parts.",
        "markdown_too_complex": "The Markdown has too many parts.",
        # An issue that cannot go out.
        "issue_has_no_content": "The issue has neither text nor an image.",
        "audience_is_empty": "The newsletter has no active reader.",
        "sender_not_verified": "The From address is not verified.",
        "unsafe_message": "The message would not arrive as it was written.",
        # A file of readers.
        "empty_file": "The file is empty.",
        "not_utf8": "The file is not UTF-8.",
        "nul_character": "The file contains a NUL character.",
        "missing_email_column": "No column is called `email`.",
        "invalid_column_name": "A column's name cannot be an attribute's.",
        "duplicate_column": "Two columns have the same name.",
        "too_many_columns": "A row has more fields than allowed.",
        "field_too_long": "A field has more characters than allowed.",
        "line_too_long": "A line has more characters than allowed.",
        "unclosed_quote": "A quotation mark is not closed.",
        "stray_quote": "A quotation mark inside a quoted field is not doubled.",
        # A repeated request.
        "idempotency_key_reused": "This Idempotency-Key was used for another request.",
    },
    429: {"rate_limited": "More requests a second than this key, or an address without one, may make."},
    500: {"internal_error": "Something failed on our side; X-Request-Id names the request in the log."},
    503: {"database_unavailable": "The database cannot be reached; try again in a moment."},
}
STATUS_OF = {code: status for status, codes in MEANINGS.items() for code in codes}

# What any request can meet, whatever it asks for.
EVERY = (
    "bad_request",
    "length_required",
    "not_authenticated",
    "key_in_url",
    "scope_missing",
    "rate_limited",
    "internal_error",
    "database_unavailable",
)
# What every operation but GET can meet.
WRITE = ("changed_meanwhile",)
_VALUES = ("invalid_values", "invalid_value", "wrong_type", "not_one_of", "too_long", "too_short", "out_of_range")
_TEXTS = ("control_character", "blank", "lone_surrogate")
BODY = (
    "invalid_json",
    "body_incomplete",
    "body_too_large",
    "media_type_not_supported",
    "content_encoding_not_supported",
    "object_expected",
    "duplicate_key",
    "number_not_finite",
    "number_too_large",
    "too_deep",
    "too_many_keys",
    "required",
    "unknown_field",
    "wrong_form",
    *_VALUES,
    *_TEXTS,
)
QUERY = ("invalid_query", "unknown_parameter", "repeated_parameter", *_VALUES, *_TEXTS)
LIST = ("invalid_cursor", *QUERY)
# A POST that may carry an Idempotency-Key, and one that must. The router adds them, and `VERSION` to changes.
REPEATABLE = ("invalid_idempotency_key", "idempotency_key_reused", "body_incomplete", "body_too_large")
ONCE = ("idempotency_key_required", *REPEATABLE)
VERSION = ("precondition_failed",)
# Sets that several operations share, and what their schemas are called after.
SHARED = {
    "": (*EVERY, *WRITE, *VERSION, "not_found"),
    "Body": (*EVERY, *BODY),
    "Repeatable": (*EVERY, *REPEATABLE),
    "RepeatableBody": (*EVERY, *BODY, *REPEATABLE),
    "Query": (*EVERY, *QUERY),
    "List": (*EVERY, *LIST),
    "Once": (*EVERY, *ONCE),
}

# Groups of a part of the product.
CONTENT = (
    "encoded_word",
    "only_spaces",
    "unknown_tag",
    "unclosed_tag",
    "too_many_tags",
    "misplaced_tag",
    "tag_in_style",
    "invalid_link",
    "html_too_complex",
    "markdown_too_complex",
)
READER = (
    "too_many_attributes",
    "invalid_attribute_name",
    "invalid_attribute_value",
)
READY = ("issue_has_no_content", "audience_is_empty", "sender_not_verified")
RENDERED = ("issue_has_no_content", "unsafe_message", *CONTENT, "control_character", "too_long", "required")
FILE = (
    "body_incomplete",
    "body_too_large",
    "import_too_large",
    "media_type_not_supported",
    "content_encoding_not_supported",
    "import_not_csv",
    "required",
    "invalid_consent_source",
    "empty_file",
    "not_utf8",
    "nul_character",
    "missing_email_column",
    "invalid_column_name",
    "duplicate_column",
    "too_many_columns",
    "field_too_long",
    "line_too_long",
    "unclosed_quote",
    "stray_quote",
)
