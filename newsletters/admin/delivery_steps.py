"""What a person can decide about held deliveries, each by the function that the API calls too."""

from __future__ import annotations

import functools

from accounts.admin import Step
from accounts.audit import Actor
from newsletters.delivery.deciding import Decision, decide
from newsletters.models import Delivery, DeliveryState


def _describe(row: Delivery) -> str:
    reader = row.subscription.subscriber.address if row.subscription else "an erased reader"
    return f"{reader}: “{row.issue.subject}”, held because {row.reason or 'unknown'}"


def _decide(row: Delivery, actor: Actor, *, decision: Decision) -> None:
    decide(row, decision, actor=actor)


def _is_held(row: Delivery) -> bool:
    return row.state == DeliveryState.HELD


def _step(decision: Decision, label: str, *, done: str, question: str, danger: bool = False) -> Step[Delivery]:
    return Step[Delivery](
        name=decision.value,
        label=label,
        done=done,
        run_as=functools.partial(_decide, decision=decision),
        question=question,
        describe=_describe,
        shown=_is_held,
        danger=danger,
    )


STEPS = (
    _step(
        Decision.RESEND,
        "Resend…",
        done="queued again.",
        question="Send again? A reader who has the mail already may get a second copy.",
    ),
    _step(
        Decision.ACCEPT,
        "Accept as sent…",
        done="counted as sent.",
        question="Count these as sent? Do so when you know that they arrived, say from the relay's log.",
    ),
    _step(
        Decision.DROP,
        "Drop…",
        done="dropped.",
        question="Give these up? Their readers do not get the mail, unless it has arrived already.",
        danger=True,
    ),
)
