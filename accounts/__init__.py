"""Who is asking: people, publishers, memberships and API keys."""
