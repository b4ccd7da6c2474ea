import json
import math
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ltbench.config import yaml_file
from ltbench.config.errors import ConfigError
from ltbench.config.yaml_file import MAX_BYTES, dump_yaml, parse_yaml, read_yaml
from tests.support.errors import problems, problems_of

CONFIGS = Path(__file__).parents[2] / "configs"


def value(text):
    return parse_yaml(text, "x.yaml")[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1e-3", 0.001),
        ("2E+2", 200.0),
        ("-.5", -0.5),
        ("5.", 5.0),
        ("+7", 7),
        ("0", 0),
        ("true", True),
        ("false", False),
        ("null", None),
        ("~", None),
        ("---", None),
        ("'1'", "1"),
        ('"true"', "true"),
    ],
)
def test_scalars_are_those_of_json(text, expected):
    read = value(text)
    assert read == expected
    assert type(read) is type(expected)


@pytest.mark.parametrize(
    "text",
    [
        *("on", "off", "yes", "no", "True", "NULL"),
        *("010", "0o10", "0x1F", "1_000", "1:30", "2020-01-01"),
        *(".inf", "-.inf", ".nan", "1e999", "e5", ".", "1.2.3", "9" * 5000, "<<"),
    ],
)
def test_all_else_is_text(text):
    assert value(text) == text


def test_keys_are_text():
    assert value("{1: a, null: b, true: c}") == {"1": "a", "null": "b", "true": "c"}


def test_locate_points_at_keys_items_and_parents():
    text = "a: 1\n\nb:\n  - x\n  - c:\n      d: 1\n    e: 2\n"
    _, locate = parse_yaml(text, "x.yaml")
    assert locate(()) == 1
    assert locate(("a",)) == 1
    assert locate(("b",)) == 3
    assert locate(("b", 0)) == 4
    assert locate(("b", 1)) == 5
    assert locate(("b", 1, "c", "d")) == 6
    assert locate(("b", 1, "e")) == 7
    assert locate(("b", 1, "missing", "too")) == 5
    assert locate(("missing",)) == 1


@pytest.mark.parametrize(
    ("text", "line", "fact"),
    [
        ("", None, "empty"),
        ("# only a comment\n", None, "empty"),
        ("a: 1\nb:\n\tc: 2\n", 3, "use spaces"),
        ("a: 1\nb: c: d\n", 2, "mapping values"),
        ("a: [1,\n2", 2, "',' or ']'"),
        ("a: 1\nb: &x [1]\n", 2, "anchors"),
        ("a: *x\n", 1, "aliases"),
        ("a: !!python/object/apply:os.system [ls]", 1, "tags"),
        ("a: !!str 1", 1, "tags"),
        ("? &x a\n: 1", 1, "key"),
        ("a: 1\n? [b]\n: 1", 2, "key"),
        ("a: 1\n---\nb: 1\n", 2, "document"),
        ("a: 1\nb: \x07", 2, "U+0007"),
        ('a: 1\nb: "\\ud800"', 2, "\\ud800"),
        ('a: "\\UFFFFFFFF"', 1, "out of range"),
        ("[" * 10_000, 1, "30 levels"),
        ("- " * 10_000, 1, "30 levels"),
    ],
    ids=lambda text: repr(text)[:30],
)
def test_broken_text_has_a_clear_error(text, line, fact):
    (problem,) = problems_of(lambda: value(text))
    assert (problem.file, problem.line, problem.code) == ("x.yaml", line, "invalid-yaml")
    assert fact in problem.message


def test_every_key_that_is_given_twice_is_named():
    assert problems(lambda: value("a: 1\nb: {c: 1, c: 2}\na: 3\n")) == [
        ("x.yaml:2", "b.c", "duplicate"),
        ("x.yaml:3", "a", "duplicate"),
    ]
    again = problems_of(lambda: value("v:\n  - a: 1\n    a: 2\n    a: 3\n"))
    assert [(p.line, p.path, p.code) for p in again] == [
        (3, "v[0].a", "duplicate"),
        (4, "v[0].a", "duplicate"),
    ]
    assert all(problem.message.endswith("line 2") for problem in again)


def test_alias_bomb_is_refused():
    bomb = "a: &a [x, x]\n" + "".join(
        f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n"
        for old, new in zip("abcdefgh", "bcdefghi", strict=True)
    )
    assert problems(lambda: value(bomb)) == [("x.yaml:1", "", "invalid-yaml")]


def test_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "x.yaml"

    def problem(path):
        ((place, _, code),) = problems(lambda: read_yaml(path))
        return place, code

    assert problem(file) == ("x.yaml", "missing-file")
    assert problem(Path("n" * 300)) == ("n" * 300, "unreadable")
    assert problem(tmp_path.parent) == (str(tmp_path.parent), "missing-file")
    file.write_bytes(b"a: 1\nb: \xff\n")
    assert problem(file) == ("x.yaml:2", "unreadable")
    file.write_bytes(b"#" * (MAX_BYTES + 1))
    assert problem(file) == ("x.yaml", "unreadable")
    file.write_bytes("\ufeffa: é\n".encode())
    assert read_yaml(file)[0] == {"a": "é"}


ALPHABET = st.sampled_from(list("ab01.-+:,[]{}&*!|>'\"%@`#?~ \n\t\\xuU<=e\x85\ufeff\u2028\x00é/"))


@settings(max_examples=300, deadline=None)
@given(st.text() | st.text(ALPHABET, max_size=40))
@example("%YAML " + "9" * 5000 + ".1\n---\na")
@example("!%ff a")
@example("? |\n")
def test_any_text_is_json_or_a_config_error(text):
    try:
        read, locate = parse_yaml(text, "x.yaml")
    except ConfigError as error:
        message = str(error)
    else:
        message = "x.yaml:1"
        json.dumps(read, allow_nan=False).encode()
        assert locate(("a", 0)) >= 1
    assert all(line.startswith("x.yaml") for line in message.split("\n"))
    assert message.replace("\n", "").isprintable()


NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
TEXT = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"]), max_size=9)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None)
@given(JSON)
def test_json_reads_as_itself(document):
    read = value(json.dumps(document))
    assert read == document
    assert not isinstance(read, float) or math.isfinite(read)


NUMERALS = st.from_regex(r"[-+]?[0-9]{0,3}\.?[0-9]{0,3}([eE][-+]?[0-9]{1,3})?", fullmatch=True)


@settings(max_examples=300, deadline=None)
@given(JSON | NUMERALS | st.lists(NUMERALS), st.booleans())
@example(["1e5", "12e4", "0e1", "1E3", "1e-3", ".5e3", "-.5", "null", "1_000"], False)
@example(["\x85", "a\u2028b", "\ufeffa", "a\nb", "\t"], False)
def test_written_yaml_reads_as_itself(document, in_one_line):
    assert value(dump_yaml(document, in_one_line=in_one_line)) == document


def everything(value, locate, at=()):
    """Yield path, line and value of all that a file holds."""
    inner = isinstance(value, dict | list)
    yield at, locate(at), None if inner else value
    for name in value if isinstance(value, dict) else range(len(value)) if inner else ():
        yield from everything(value[name], locate, (*at, name))


def test_the_fast_parser_reads_what_the_slow_one_reads(monkeypatch):
    paths = sorted(CONFIGS.rglob("*.yaml"))
    fast = [list(everything(*read_yaml(path))) for path in paths]
    monkeypatch.setattr(yaml_file, "FAST", yaml.SafeLoader)
    assert [list(everything(*read_yaml(path))) for path in paths] == fast
