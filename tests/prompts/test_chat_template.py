from __future__ import annotations

import pytest

from pipeline.errors import ModelError
from pipeline.prompts.chat_template import ChatTemplate, message_format
from pipeline.prompts.token_template import Place, PromptTemplate

QUERY = '(messages | selectattr("role", "eq", "query") | first).content'
DOCUMENT = '(messages | selectattr("role", "eq", "document") | first).content'
SYSTEM = 'messages | selectattr("role", "eq", "system") | map(attribute="content") | first'
PLAIN = f"Q: {{{{ {QUERY} }}}}\nD: {{{{ {DOCUMENT} }}}}\n"


def prompt(source: str, *, instructed: bool = False, **variables: object) -> PromptTemplate:
    chat = ChatTemplate(
        source=source,
        message_format="flat",
        variables=variables,
        where="folder/chat_template.jinja",
    )
    return chat.prompt(instructed=instructed)


def test_a_plain_template_is_words_around_places() -> None:
    # Jinja drops the last line break, as transformers has it.
    assert prompt(PLAIN).parts == (("Q: ", Place.QUERY, "\nD: ", Place.DOCUMENT),)
    assert prompt(PLAIN).joined
    assert not prompt(PLAIN).stripped


def test_an_instruction_is_a_system_message() -> None:
    source = f"{{% set i = {SYSTEM} | default('web') %}}[{{{{ i }}}}] {PLAIN}"
    words = ("Q: ", Place.QUERY, "\nD: ", Place.DOCUMENT)
    assert prompt(source).parts == (("[web] " + words[0], *words[1:]),)
    (part,) = prompt(source, instructed=True).parts
    assert part == ("[", Place.INSTRUCTION, "] " + words[0], *words[1:])


def test_variables_and_blocks_are_those_of_transformers() -> None:
    source = (
        "{{ bos_token }}{%- for m in messages %}\n"
        "    {% if m.role == 'query' %}{% continue %}{% endif %}\n"
        "{{ m.content }}{% endfor %}{% if add_generation_prompt %}!{% endif %} " + PLAIN
    )
    source = source.replace("{{ m.content }}", "{{ m.role | tojson }}")
    (part,) = prompt(source, bos_token="<s>", add_generation_prompt=True).parts
    assert part[0] == '<s>"document"! Q: '
    (part,) = prompt(source, bos_token="<s>").parts
    assert part[0] == '<s>"document" Q: '


def test_parts_of_a_message() -> None:
    source = PLAIN.replace(".content", ".content[0].text")
    chat = ChatTemplate(source=source, message_format="structured", variables={}, where="x")
    assert chat.prompt(instructed=False).parts == prompt(PLAIN).parts
    assert message_format(source, kind="qwen3") == "structured"
    assert message_format(source, kind="gpt_oss") == "flat"
    assert message_format(PLAIN, kind="qwen3") == "flat"


def test_a_template_may_strip_texts() -> None:
    found = prompt(PLAIN.replace(f"{QUERY} }}}}", f"{QUERY} | trim }}}}"))
    assert found.stripped == {Place.QUERY}


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("{{ messages[-1].content }}", "leaves out the message of the role query"),
        (PLAIN + f"{{{{ {QUERY} }}}}", "query} is there 2 times"),
        (
            PLAIN.replace(f"{QUERY} }}}}", f"{QUERY} | upper }}}}"),
            "leaves out|does more with a text",
        ),
        (PLAIN.replace(f"{DOCUMENT} }}}}", f"{DOCUMENT} or 'NULL' }}}}"), "does more with a text"),
        (PLAIN.replace(f"{DOCUMENT} }}}}", f"{DOCUMENT}[:300] }}}}"), "does more with a text"),
        (
            PLAIN.replace(f"{DOCUMENT} }}}}", f"{DOCUMENT}.split('</think>')[-1] }}}}"),
            "does more with a text",
        ),
        (PLAIN.replace(f"{DOCUMENT} }}}}", f"{DOCUMENT} | escape }}}}"), "does more with a text"),
        ("{{ raise_exception('only users') }}", "only users"),
        ("{% if %}", "does not render.*TemplateSyntaxError"),
        ("{{ strftime_now('%Y') }}" + PLAIN, "strftime_now"),
        ("{{ ''.__class__.__mro__ }}" + PLAIN, "SecurityError|does not render"),
        ("{{ messages.append(1) }}" + PLAIN, "does not render.*SecurityError"),
    ],
)
def test_programs_that_do_more_are_refused(source: str, told: str) -> None:
    with pytest.raises(ModelError, match=f"(?s)folder/chat_template.jinja.*({told})") as error:
        prompt(source)
    assert "model.settings.template" in str(error.value)


def test_an_instruction_that_is_left_out() -> None:
    with pytest.raises(ModelError, match="role system"):
        prompt(PLAIN, instructed=True)
