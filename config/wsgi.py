"""The WSGI application that gunicorn serves."""

import os

from django.core.wsgi import get_wsgi_application
from django.utils.module_loading import import_string

from core.content_type import with_readable_types

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
application = with_readable_types(get_wsgi_application())
# Models cannot be imported before; and each process of gunicorn imports this module itself, after the fork.
import_string("accounts.journal.journal").start()
