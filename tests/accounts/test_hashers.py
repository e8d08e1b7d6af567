from __future__ import annotations

import argon2
from django.contrib.auth.hashers import check_password, make_password
from django.test import override_settings

from config.settings import PASSWORD_HASHERS
from tests import cast
from tests.quick_hasher import QuickHasher


def test_a_password_costs_whom_guesses_it_what_owasp_asks_for() -> None:
    with override_settings(PASSWORD_HASHERS=PASSWORD_HASHERS):
        encoded = make_password(cast.PASSWORD)
        algorithm, _, rest = encoded.partition("$")
        cost = argon2.extract_parameters(f"${rest}")
        assert (algorithm, cost.type) == ("argon2", argon2.Type.ID)
        assert (cost.memory_cost, cost.time_cost, cost.parallelism) == (19_456, 2, 1)
        assert check_password(cast.PASSWORD, encoded)
        assert not check_password(cast.PASSWORD + "s", encoded)


def test_the_other_tests_hash_in_the_same_way_but_quickly() -> None:
    encoded = make_password(cast.PASSWORD)
    assert encoded.startswith(f"argon2$argon2id$v=19$m={QuickHasher.memory_cost},t={QuickHasher.time_cost},p=1$")
    assert check_password(cast.PASSWORD, encoded)
    assert not check_password(cast.PASSWORD + "s", encoded)
