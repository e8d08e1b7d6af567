"""Pages of people and publishers; those of members, invitations and keys stand with the newsletters."""

from django.urls import path

from accounts.web.home import home
from accounts.web.publishers import leave_page, new_publisher_page, publishers_page, settings_page, switch_page

urlpatterns = [
    path("", home, name="home"),
    path("publishers/", publishers_page, name="publishers"),
    path("publishers/new", new_publisher_page, name="publisher-new"),
    path("publishers/switch", switch_page, name="publisher-switch"),
    path("publishers/<str:publisher_id>/", settings_page, name="publisher"),
    path("publishers/<str:publisher_id>/leave", leave_page, name="publisher-leave"),
]
