"""Journeys of an issue: editing, rendering, starting, fanning out, following its progress."""
