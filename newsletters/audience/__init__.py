"""Journeys of a reader: joining, leaving, being imported, being suppressed."""
