"""End one session of one's own, where django-allauth ends all others only."""

from __future__ import annotations

from allauth.usersessions.internal.flows.sessions import end_sessions
from allauth.usersessions.models import UserSession
from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect

from accounts.web.asking import signed_in


@signed_in("POST")
@transaction.atomic
def end_session_page(request: HttpRequest, pk: int) -> HttpResponse:
    """End a session of whoever asks, the one they ask in as well; other people's are not found."""
    session = get_object_or_404(UserSession, pk=pk, user_id=request.user.pk)
    end_sessions(request, [session])
    messages.success(request, "The session is ended.")
    return redirect("usersessions_list")
