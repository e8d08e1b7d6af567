import gc

from django.apps import AppConfig


class CoreConfig(AppConfig):
    name = "core"
    verbose_name = "Service"

    def ready(self) -> None:
        # config.settings turned it off. What is loaded by now stays: it is not looked through again, and processes
        # that a worker forks share its memory.
        gc.freeze()
        gc.enable()
