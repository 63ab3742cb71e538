"""A tiny ctxl-rerank-v2: words without marks of turns, the document first, token 0 is the score.

A message's content is a list of parts here, as templates of models of images have it.
"""

from __future__ import annotations

from tests.goldens.make.logit_score_parts import write

TEMPLATE = """\
{%- set query = (messages | selectattr("role", "equalto", "query") | first).content[0].text -%}
{%- set document = (messages | selectattr("role", "eq", "document") | first).content[0].text -%}
{%- set system = messages | selectattr("role", "equalto", "system") | list -%}
Check whether a given document contains information helpful to answer the query.
<Document> {{ document }}
<Query> {{ query }}{% if system %} {{ system[0].content[0].text }}{% endif %} ??"""


def main() -> None:
    """Write the folder anew."""
    from torch.nn import Identity

    write(
        "ctxl-rerank-tiny",
        template=TEMPLATE,
        tokens=(0, None),
        seed=25,
        activation_fn=Identity(),
    )


if __name__ == "__main__":
    main()
