"""Tables of variants: rows from outside, rows that are imported late, names that are unknown."""

import pytest

from cpca_jax.errors import ConfigError
from cpca_jax.registry import Registry


def test_a_row_given_as_a_place_is_imported_when_it_is_looked_up():
    table = Registry("codec", {"json": "json:loads"})
    assert list(table) == ["json"]
    assert table["json"]("[1]") == [1]


def test_a_registered_row_is_found_under_its_name():
    table: Registry[int] = Registry("penalty", {"one": 1})
    table.register("two", 2)
    assert table.pick("two", "config.loss.penalty") == 2


def test_an_unknown_name_is_refused_with_the_rows_and_the_nearest():
    table: Registry[int] = Registry("penalty", {"two_sided": 1, "r1": 2})
    with pytest.raises(ConfigError) as caught:
        table.pick("two_sidde", "config.loss.penalty")
    assert str(caught.value) == (
        "config.loss.penalty: 'two_sidde' is not one of two_sided, r1; did you mean 'two_sided'?"
    )


@pytest.mark.parametrize(("name", "reason"), [("one", "exists already"), ("a b", "must consist")])
def test_a_name_that_is_taken_or_not_plain_is_refused(name, reason):
    table: Registry[int] = Registry("penalty", {"one": 1})
    with pytest.raises(ConfigError, match=reason):
        table.register(name, 3)
