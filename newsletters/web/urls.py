"""The addresses that stand in mails. They must work for as long as anybody keeps a mail: never change them."""

from django.urls import path

from newsletters.web.confirm import confirm_again_page, confirm_page
from newsletters.web.unsubscribe import subscribe_again_page, unsubscribe_page
from newsletters.web.verify_sender import verify_sender_page

urlpatterns = [
    path("c/<str:token>", confirm_page, name="confirm"),
    path("c/<str:token>/again", confirm_again_page, name="confirm-again"),
    path("u/<str:token>", unsubscribe_page, name="unsubscribe"),
    path("u/<str:token>/again", subscribe_again_page, name="subscribe-again"),
    path("v/<str:token>", verify_sender_page, name="verify-sender"),
]
