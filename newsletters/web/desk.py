"""Pages of a publisher's people that have to do with newsletters: members, invitations and keys."""

from django.urls import path

from newsletters.web.invitations import invitation_page, invite_page, resend_page, withdraw_page
from newsletters.web.keys import keys_page, new_key_page, revoke_page
from newsletters.web.members import member_page, members_page, remove_page, transfer_page

_HERE = "publishers/<str:publisher_id>"
urlpatterns = [
    # Stands in mails.
    path("invitations/<str:token>", invitation_page, name="invitation"),
    path(f"{_HERE}/members", members_page, name="members"),
    path(f"{_HERE}/members/<str:member_id>", member_page, name="member"),
    path(f"{_HERE}/members/<str:member_id>/remove", remove_page, name="member-remove"),
    path(f"{_HERE}/members/<str:member_id>/transfer", transfer_page, name="member-transfer"),
    path(f"{_HERE}/invitations/new", invite_page, name="invite"),
    path(f"{_HERE}/invitations/<str:invitation_id>/resend", resend_page, name="invitation-resend"),
    path(f"{_HERE}/invitations/<str:invitation_id>/withdraw", withdraw_page, name="invitation-withdraw"),
    path(f"{_HERE}/keys", keys_page, name="keys"),
    path(f"{_HERE}/keys/new", new_key_page, name="key-new"),
    path(f"{_HERE}/keys/<str:key_id>/revoke", revoke_page, name="key-revoke"),
]
