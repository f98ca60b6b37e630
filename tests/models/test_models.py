import pytest
from tools.check_models import MODELS, Model, check, expected, lines, missing, models, verdicts

from tools import check_models

KNOWN = models()
CONTROLS = [name for name, model in KNOWN.items() if model.of]
SUMMARY = """\
RESULT not event(A(x)) is false.
Verification summary:

Query not event(A(x)) is false.

Query inj-event(A(x)) ==> inj-event(B(x)) {}.
"""
SMALL = Model("small", "(*! can_be *)\nquery event(A(x)).\n(*? claim *)\nquery event(A(x)) ==> event(B(x)).\n")


@pytest.mark.timeout(check_models.LIMIT)
@pytest.mark.parametrize("name", KNOWN)
def test_proverif_says_what_is_expected(name: str) -> None:
    if reason := missing():
        pytest.skip(reason)
    assert check(KNOWN[name]) == expected()[name]


def test_every_query_has_a_name_and_an_expected_verdict() -> None:
    assert {name: model.queries for name, model in KNOWN.items()} == {
        name: tuple(table) for name, table in expected().items()
    }
    for model in KNOWN.values():
        assert model.text.count("\nquery ") == len(model.queries) == len(set(model.queries))


def test_the_verdicts_stand_in_the_form_that_the_tool_prints() -> None:
    text = "".join(line + "\n" for name, table in expected().items() for line in lines(name, table))
    assert (MODELS / "expected.txt").read_text() == text


def test_models_hold_and_every_control_lets_an_attack_in() -> None:
    for name, table in expected().items():
        found = set(table.values())
        if name in CONTROLS:
            assert "attack" in found and "never" not in found, name
        else:
            assert found == {"happens", "holds"}, name


def test_every_model_has_controls_and_the_page_names_them_all() -> None:
    page = (MODELS / "README.md").read_text()
    for name in KNOWN:
        assert (f"| {name} |" if name in CONTROLS else f"[{name}.pv]({name}.pv)") in page
    assert {KNOWN[name].of for name in CONTROLS} == set(KNOWN) - set(CONTROLS)
    assert len({model.text for model in KNOWN.values()}) == len(KNOWN)


@pytest.mark.parametrize(
    ("answer", "verdict"), [("is true", "holds"), ("is false", "attack"), ("cannot be proved", "unknown")]
)
def test_a_summary_is_read_query_by_query(answer: str, verdict: str) -> None:
    assert verdicts(SMALL, SUMMARY.format(answer)) == {"can_be": "happens", "claim": verdict}


def test_an_output_that_lacks_a_verdict_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"small: 2 queries, 0 answers. Error: syntax error"):
        verdicts(SMALL, "Error: syntax error.\n")


def test_without_proverif_the_reason_and_the_way_to_get_it_are_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("sys.argv", ["check_models.py"])
    assert check_models.main() == 0
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("skipped: ProVerif is not on PATH") and "hint: get it from" in shown.err


def test_a_verdict_that_is_not_the_expected_one_is_told_and_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(check_models, "missing", lambda: None)
    monkeypatch.setattr(check_models, "check", lambda model: dict.fromkeys(model.queries, "attack"))
    monkeypatch.setattr("sys.argv", ["check_models.py", "words"])
    assert check_models.main() == 1
    assert "words: same_words_same_session: attack, expected holds" in capsys.readouterr().err


def test_what_proverif_reads_can_be_shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["check_models.py", "--show", "nobody-compares"])
    assert check_models.main() == 0
    shown = capsys.readouterr().out
    assert "insert said(me" in shown and "get said(=u" not in shown
