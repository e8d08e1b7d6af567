"""What the courier does with a template that it cannot read."""

from __future__ import annotations

import pytest

from newsletters.delivery.editions import load_edition
from newsletters.models import Edition
from newsletters.publishing import sending
from tests.cast import make_issue, make_newsletter, make_reader

pytestmark = [pytest.mark.django_db, pytest.mark.dialects]


@pytest.mark.parametrize("template", [b"{}", b"not json", b'{"version": 999}'])
def test_a_template_of_another_release_is_left_to_that_releases_workers(template: bytes) -> None:
    newsletter = make_newsletter()
    make_reader(newsletter)
    issue = make_issue(newsletter)
    sending.send(issue.pk)
    assert load_edition(issue.pk) is not None
    Edition.objects.filter(issue=issue).update(template=template)
    assert load_edition(issue.pk) is None
    assert load_edition(issue.pk + 1) is None
