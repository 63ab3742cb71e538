"""A tiny zerank: the query is the system's turn, one token's logit is the score."""

from __future__ import annotations

from tests.goldens.make.logit_score_parts import write

TEMPLATE = """\
{%- set ns = namespace(query="", document="", instruction="") -%}
{%- for message in messages -%}
{%- if message.role == "query" -%}{%- set ns.query = message.content -%}
{%- elif message.role == "document" -%}{%- set ns.document = message.content -%}
{%- elif message.role == "system" -%}{%- set ns.instruction = message.content -%}
{%- endif -%}
{%- endfor -%}
<|im_start|>system
{% if ns.instruction -%}
<query>{{ ns.query }}</query>
<instruction>{{ ns.instruction }}</instruction>
{%- else -%}
{{ ns.query }}
{%- endif -%}
<|im_end|>
<|im_start|>user
{{ ns.document }}<|im_end|>
{% if add_generation_prompt -%}
<|im_start|>assistant
{% endif %}
"""


def main() -> None:
    """Write the folder anew."""
    from torch.nn import Identity

    write(
        "zerank-tiny",
        template=TEMPLATE,
        tokens=("Yes", None),
        seed=24,
        variables={"add_generation_prompt": True},
        activation_fn=Identity(),
    )


if __name__ == "__main__":
    main()
