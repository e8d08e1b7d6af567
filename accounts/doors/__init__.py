"""How people come in: what django-allauth asks of us."""
