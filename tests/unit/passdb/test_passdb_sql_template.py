"""Queries with %-variables become SQL text with bound parameters."""

from __future__ import annotations

import pytest

from mailproxy.base.errors import ConfigError
from mailproxy.passdb.sql_template import SqlTemplate, compile_query

VALUES = {"u": "j@x.org", "n": "j", "d": "x.org", "s": "imap", "w": "pw"}


def query(text: str, driver: str = "sqlite") -> SqlTemplate:
    return compile_query(text, driver, "sql: password_query in test.conf")


@pytest.mark.parametrize(
    ("configured", "text", "bound"),
    [
        ("SELECT 1 WHERE u = '%u'", "SELECT 1 WHERE u = ?", ("j@x.org",)),
        ("SELECT 1 WHERE u = '%n@%d'", "SELECT 1 WHERE u = ?", ("j@x.org",)),
        ('SELECT 1 WHERE u = "%u"', "SELECT 1 WHERE u = ?", ("j@x.org",)),
        ("SELECT 1 WHERE u = %u", "SELECT 1 WHERE u = ?", ("j@x.org",)),
        ("SELECT '%u*proxy' AS destuser", "SELECT ? AS destuser", ("j@x.org*proxy",)),
        ("SELECT '%Un''s' AS a, '%u' AS b", "SELECT ? AS a, ? AS b", ("J's", "j@x.org")),
        ("SELECT 7 %% 3, '100%%', ':a ?'", "SELECT 7 % 3, '100%', ':a ?'", ()),
        ("SELECT '%2u%%' -- for %u", "SELECT ?  ", ("j@%",)),
        ("SELECT /* %q */ 1", "SELECT   1", ()),
        ("SELECT 'it''s' || '%u'", "SELECT 'it''s' || ?", ("j@x.org",)),
        ("SELECT x LIKE '%u'", r"SELECT x LIKE ? ESCAPE '\'", ("j@x.org",)),
        ("SELECT x LIKE '%u' ESCAPE '!'", "SELECT x LIKE ? ESCAPE '!'", ("j@x.org",)),
        ("SELECT `a%%b`, [c%%d]", "SELECT `a%b`, [c%d]", ()),
        ("SELECT a\\b '%u'", "SELECT a\\b ?", ("j@x.org",)),
    ],
)
def test_sqlite(configured: str, text: str, bound: tuple[str, ...]) -> None:
    """S10: the whole literal becomes one parameter, `%%` a percent sign."""
    template = query(configured)
    assert (template.text, template.bind(VALUES)) == (text, bound)


@pytest.mark.parametrize(
    ("configured", "text", "bound"),
    [
        ("SELECT '%u', '100%%', 7 %% 3", "SELECT %s, '100%%', 7 %% 3", ("j@x.org",)),
        (r"SELECT 'a\'%u'", "SELECT %s", ("a'j@x.org",)),
        (r"SELECT 'a\\%u\n'", "SELECT %s", ("a\\j@x.org\n",)),
        (r"SELECT 'it\'s', '%u'", r"SELECT 'it\'s', %s", ("j@x.org",)),
        ("SELECT `%%` FROM t # %u", "SELECT `%%` FROM t  ", ()),
        ("SELECT 5 --%u", "SELECT 5 --%s", ("j@x.org",)),
        (r"SELECT x LIKE '\%%%n'", "SELECT x LIKE %s", (r"\%j",)),
    ],
)
def test_mysql(configured: str, text: str, bound: tuple[str, ...]) -> None:
    template = query(configured, "mysql")
    assert (template.text, template.bind(VALUES)) == (text, bound)


@pytest.mark.parametrize(
    ("configured", "text", "bound"),
    [
        ("""SELECT "user"::text, '%u'::text""", """SELECT "user"::text,  $1 ::text""", ("j@x.org",)),
        (r"SELECT 'a\', '%u'", r"SELECT 'a\',  $1 ", ("j@x.org",)),
        (r"SELECT E'a\'%n\n'", "SELECT  $1 ", ("a'j\n",)),
        ("SELECT $q$it's %n$q$, $$100%%$$", "SELECT  $1 , $$100%$$", ("it's j",)),
        ("SELECT'%n'as a,'%d'b", "SELECT $1 as a, $2 b", ("j", "x.org")),
        ("SELECT ARRAY['%n'][1] -- it's", "SELECT ARRAY[ $1 ][1]  ", ("j",)),
    ],
)
def test_pgsql(configured: str, text: str, bound: tuple[str, ...]) -> None:
    template = query(configured, "pgsql")
    assert (template.text, template.bind(VALUES)) == (text, bound)


@pytest.mark.parametrize(
    ("driver", "configured", "reason"),
    [
        ("sqlite", "SELECT '%q'", "Unknown variable '%q'"),
        ("sqlite", "SELECT '%{nonsense}'", "Unknown variable '%nonsense'"),
        ("sqlite", "SELECT x LIKE 'a%'", "Unknown variable '%'"),
        ("sqlite", "SELECT 7 % 3", "Unknown variable '% '"),
        ("sqlite", "SELECT 1 FROM users_%d", "%d is part of a name"),
        ("sqlite", "SELECT 1 FROM %d.users", "%d is part of a name"),
        ("sqlite", "SELECT %n%d", "%n is part of a name"),
        ("sqlite", "SELECT `%d`", "a quoted name"),
        ("sqlite", "SELECT x'%n'", "no plain text"),
        ("sqlite", "SELECT 'open", "never closed"),
        ("pgsql", 'SELECT "%u"', "a quoted name"),
        ("pgsql", r"SELECT E'\x41%u'", r"\x in a literal"),
        ("pgsql", "SELECT U&'%u'", "no plain text"),
        ("mysql", "SELECT /*+ HINT(%d) */ 1", "an optimizer hint"),
        ("mysql", "SELECT /*! %d */ 1", "an optimizer hint"),
        ("mysql", r"SELECT '\%u'", "a backslash before a variable"),
    ],
)
def test_refused_at_start(driver: str, configured: str, reason: str) -> None:
    """S10: what cannot be bound is a start-up error that says why and where."""
    with pytest.raises(ConfigError) as caught:
        query(configured, driver)
    assert str(caught.value).startswith("sql: password_query in test.conf: ")
    assert reason in str(caught.value)


@pytest.mark.parametrize("name", ["jo\0hn", "\0", "jo\udcffhn", "\udce9"])
def test_names_that_no_database_holds(name: str) -> None:
    """S03: a NUL or bytes that are not UTF-8 are an unknown user, not an exception."""
    assert query("SELECT '%u'").bind({"u": name}) is None
    assert query("SELECT '%s'").bind({"u": name, "s": "imap"}) == ("imap",)


def test_wildcards_of_a_like_are_plain() -> None:
    """S04: `%` matches nobody but `%`, whatever the ESCAPE of the query is."""
    assert query("SELECT x LIKE '%u'").bind({"u": "a%b_c\\"}) == ("a\\%b\\_c\\\\",)
    assert query("SELECT x LIKE '%u%%' ESCAPE '!'").bind({"u": "50%!"}) == ("50!%!!%",)
    assert query("SELECT x LIKE '%u%%'", "mysql").bind({"u": "50%"}) == ("50\\%%",)
    assert query("SELECT x = '%u'").bind({"u": "50%"}) == ("50%",)


def test_letters_are_those_that_decide() -> None:
    assert query("SELECT '%Ld', '%u', '%d' -- %r").letters == ("d", "u")
