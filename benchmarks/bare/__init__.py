"""Django that answers every request with the same JSON: what the server and the framework alone take."""
