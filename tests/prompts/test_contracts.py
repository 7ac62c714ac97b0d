import pytest

from llmcli.prompts import contracts
from llmcli.prompts.contracts import Contract, contract_of, is_own_name, prefix_of, register_contract
from llmcli.prompts.prompt_library import PromptLibrary

PROMPT = "description: d\nsystem: 'In {{ language }}'\nuser: '{{ text }}{{ language }}'\n"


@pytest.fixture
def registered(monkeypatch):
    """Register the contracts of two commands that do not exist."""
    monkeypatch.setattr(contracts, "_CONTRACTS", dict(contracts._CONTRACTS))
    register_contract("rhyme", Contract({"text": "t", "language": "l"}, ("text",), frozenset({"language"})))
    register_contract("draw", Contract(is_prefix=True))


def test_prompts_of_one_directory_share_a_contract():
    """Any name in the directory has it, the name of the directory itself has none."""
    assert contract_of("generate/anything") is contract_of("generate/email") is not None
    assert contract_of("generate") is contract_of("ask/x") is contract_of("ask.x") is None
    assert prefix_of("generate/email") == "generate/" and prefix_of("generate") == prefix_of("ask") == ""


@pytest.mark.usefixtures("registered")
def test_a_registered_contract_applies_to_prompt_files(tmp_path):
    """``check`` and ``get`` know its variables, the required ones and the public ones."""
    library = PromptLibrary(tmp_path)
    (tmp_path / "rhyme.yaml").write_text(PROMPT)
    (tmp_path / "draw").mkdir()
    (tmp_path / "draw" / "cat.yaml").write_text("description: d\nuser: '{{ size }}'\nvariables: {size: {}}\n")
    assert library.check("rhyme") == library.check("draw/cat") == []
    assert library.get("rhyme").contract_variables == ("text", "language")
    assert library.get("rhyme").public_prefix
    (tmp_path / "rhyme.yaml").write_text("description: d\nuser: '{{ language }}'\n")
    assert [problem.message for problem in library.check("rhyme")] == ["neither user nor system uses text: t"]
    (tmp_path / "other.yaml").write_text("description: d\nuser: hello\n")
    assert library.check("other") == []
    (tmp_path / "rhyme.steps.yaml").write_text("description: d\nuser: hello\n")
    (problem,) = library.check("rhyme.steps")
    assert problem.message.startswith("no command uses a prompt of this name")


def test_any_other_name_is_the_users_own():
    """Such a prompt gets the columns of records, and declares its other variables."""
    assert is_own_name("review") and is_own_name("team/review") and tuple(contract_of("review").variables) == ("row",)
    assert not any(map(is_own_name, ("ask", "ask.x", "ask/x", "redact.x", "generate/email", "generate")))


@pytest.mark.usefixtures("registered")
def test_a_contract_is_registered_once():
    """Two commands cannot have the same prompt."""
    with pytest.raises(ValueError, match="rhyme"):
        register_contract("rhyme", Contract())
    assert prefix_of("draw/cat") == "draw/" and not is_own_name("rhyme")
