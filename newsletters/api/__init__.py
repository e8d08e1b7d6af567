"""The HTTP API: one file a noun; an endpoint parses, authorises, calls one domain function and presents."""
