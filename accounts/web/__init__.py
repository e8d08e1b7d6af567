"""Pages for people: their account, and the publishers they belong to."""
