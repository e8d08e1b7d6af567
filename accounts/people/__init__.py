"""Journeys of publishers and the people in them: founding, inviting, joining, roles, leaving.

Whoever is named `by` asks; whether they may is decided here, under a lock on the publisher, so that somebody who is
removed at the same moment is refused.
"""
