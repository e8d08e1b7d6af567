"""The admin's pages, one module a noun. Buttons call the same functions as the API."""

from newsletters.admin.deliveries import DeliveryAdmin
from newsletters.admin.notices import NoticeAdmin

__all__ = ["DeliveryAdmin", "NoticeAdmin"]
