"""Definitions by git: what is read of them, and what is refused, without a process or a network."""

from __future__ import annotations

from typing import Any

import pytest

SHA = "0123456789abcdef0123456789abcdef01234567"
URL = "https://example.org/team/mine.git"


def source(suites: Any, definition: str) -> Any:
    return suites.one(f"x: {{plan: {{method: per_gpu}}, definition: {{{definition}}}}}\n").source


@pytest.mark.parametrize(
    ("written", "kind", "name", "reference"),
    [
        ("branch: main", "branch", "main", "branch main"),
        ("branch: feature/a-b_c", "branch", "feature/a-b_c", "branch feature/a-b_c"),
        ("branch: 2.10", "branch", "2.10", "branch 2.10"),
        ("tag: v1.0", "tag", "v1.0", "tag v1.0"),
        (f"commit: {SHA}", "commit", SHA, f"commit {SHA}"),
        (f"commit: '{SHA.upper()}'", "commit", SHA, f"commit {SHA}"),
        (f"commit: {'1234567890' * 4}", "commit", "1234567890" * 4, f"commit {'1234567890' * 4}"),
        ("branch: null", None, None, "HEAD"),
    ],
)
def test_one_reference_says_what_is_wanted(suites: Any, written: str, kind: Any, name: Any, reference: str) -> None:
    found = source(suites, f"git: '{URL}', {written}")
    assert (found.url, found.kind, found.name, found.reference, found.path) == (URL, kind, name, reference, ".")


def test_a_benchmark_by_git_has_no_folder_until_it_is_fetched(suites: Any) -> None:
    line = f"x: {{plan: {{method: per_gpu}}, definition: {{git: '{URL}', tag: v1, path: benches/./one/}}}}"
    one = suites.one(line + "\n")
    assert (one.definition, one.program) == (None, None)
    assert one.source.as_mapping() == {"git": URL, "tag": "v1", "path": "benches/one"}
    assert one.config["definition"] == {"git": URL, "tag": "v1", "path": "benches/./one/"}
    assert (one.source.mark.line, one.source.mark.column) == (2, line.index("benches") + 1)


@pytest.mark.parametrize(
    ("url", "repository"),
    [
        (URL, "mine"),
        ("ssh://git@example.org:2222/team/mine", "mine"),
        ("git@example.org:team/mine.git", "mine"),
        ("git@example.org:mine", "mine"),
        ("file:///srv/git/mine.git/", "mine"),
        ("https://example.org/a%20b/été", "-t-"),
    ],
)
def test_urls_that_git_fetches_from_are_taken_as_they_are(suites: Any, url: str, repository: str) -> None:
    found = source(suites, f"git: '{url}'")
    assert found.url == url
    assert found.repository == repository.lstrip("-")
    assert found.key.startswith(f"{found.repository}-HEAD-")


def test_a_path_is_relative_to_the_file_that_writes_it(suites: Any) -> None:
    (suites.folder / "sub" / "mine.git").mkdir(parents=True)
    suites.write("_low: {plan: {method: per_gpu}, definition: {git: ./mine.git, branch: main}}\n", "sub/low.yaml")
    one = suites.one("include: sub/low.yaml\nx: {inherits: _low, definition: {branch: other}}\n")
    assert one.source.as_mapping() == {"git": str(suites.folder / "sub" / "mine.git"), "branch": "other"}


@pytest.mark.parametrize("path", ["nowhere", "~nobody-there/x", "x" * 300])
def test_whether_a_repository_is_there_is_left_to_the_fetch(suites: Any, path: str) -> None:
    assert source(suites, f"git: {path}").url == str(suites.folder / path)


def test_benchmarks_share_a_repository_at_the_same_reference_only(suites: Any) -> None:
    texts = (f"git: '{URL}', branch: a", f"git: '{URL}', branch: a, path: p", f"git: '{URL}', tag: a", "git: /")
    keys = [source(suites, text).key for text in texts]
    assert (keys[0], len(set(keys))) == (keys[1], 3)


@pytest.mark.parametrize(
    ("definition", "code", "at", "says"),
    [
        ("{branch: main}", "E216", "{branch", "x.definition needs git: the URL of a repository"),
        ("{git: [a]}", "E301", "[a]", "not a list"),
        ("{git: ''}", "E301", "''", "not nothing"),
        ("{git: '--upload-pack=touch /tmp/x'}", "E213", "'--up", "git would take it for something else"),
        ("{git: 'ext::sh -c true'}", "E213", "'ext", "git would take it for something else"),
        ('{git: "https://a/b\\nc"}', "E213", '"https', "git would take it for something else"),
        ("{git: 'http://example.org/x'}", "E213", "'http", "cannot be fetched by http"),
        ("{git: 'ftp://example.org/x'}", "E213", "'ftp", "give https, ssh, file or a path"),
        ("{git: 'https://me:word@example.org/x'}", "E411", "'https", "credential helper"),
        ("{git: 'https://ghp_0123456789@example.org/x'}", "E411", "'https", "credential helper"),
        ("{git: 'ssh://me:word@example.org/x'}", "E411", "'ssh", "credential helper"),
        ("{git: bench, branch: a, tag: b}", "E213", "tag", "has branch and tag: write one"),
        ("{git: bench, commit: a, tag: b, branch: c}", "E213", "branch: c", "has branch and tag and commit: write one"),
        ("{git: bench, branch: [a]}", "E301", "[a]", "needs the name of a branch, not a list"),
        ("{git: bench, tag: true}", "E301", "true", "needs the name of a tag, not true or false"),
        ("{git: bench, tag: ''}", "E301", "''", "needs the name of a tag, not nothing"),
        ("{git: bench, branch: -f}", "E213", "-f", "git has no branch of such a name"),
        ("{git: bench, branch: 'a b'}", "E213", "'a b'", "git has no branch of such a name"),
        ("{git: bench, branch: a..b}", "E213", "a..b", "git has no branch of such a name"),
        ("{git: bench, commit: 0a1b2c3d}", "E213", "0a1b", "a short one may come to mean another"),
        ("{git: bench, commit: main}", "E213", "main", "needs all 40 hexadecimal digits of a commit (not a name"),
        ("{git: bench, path: ../other}", "E213", "../other", "needs a folder within the repository"),
        ("{git: bench, path: /etc}", "E213", "/etc", "needs a folder within the repository"),
        ("{git: bench, brnch: main}", "E201", "brnch", "'brnch' has no meaning in x.definition"),
    ],
)
def test_a_mistake_is_told_with_its_place(suites: Any, definition: str, code: str, at: str, says: str) -> None:
    line = f"x: {{plan: {{method: per_gpu}}, definition: {definition}}}"
    (one,) = suites.problems(line + "\n")
    assert (one.code, one.mark.line, one.mark.column) == (code, 2, line.index(at, line.index("definition")) + 1)
    assert says in one.message


@pytest.mark.parametrize(("key", "near"), [("brnch", "branch"), ("comit", "commit"), ("paths", "path")])
def test_a_slip_has_a_suggestion(suites: Any, key: str, near: str) -> None:
    (one,) = suites.problems(f"x: {{plan: {{method: per_gpu}}, definition: {{git: bench, {key}: main}}}}\n")
    assert one.suggestion == near


def test_a_password_is_not_repeated(suites: Any) -> None:
    (one,) = suites.problems("x: {plan: {method: per_gpu}, definition: {git: 'https://me:word1234@example.org/x'}}\n")
    assert "word1234" not in str(one)
