"""Wiring: settings, URLs, the API object, the broker and the worker's clock."""
