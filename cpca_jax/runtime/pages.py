"""Pages that open anywhere: a template of `cpca_jax/templates` filled with plain data.

The templates hold every sentence and all markup; a page has its style and its figures inside.
"""

import base64
import re
from collections.abc import Sequence
from importlib import resources

# Digits and signs, then nothing else or, in brackets, a remark, a p-value or a range.
_NUMBER = re.compile(
    r"[+-]?\d([^a-zA-Z]|e[+-]\d)*(\(([a-z ]+|p = .*|[-.\de]+ to [-.\de]+)\))?", re.ASCII
)


def render(template: str, page: object) -> str:
    """Return a page as text.

    In HTML (a template called `*.html.jinja`) everything that comes from `page` is escaped.

    Args:
        template: file name of the template.
        page: what the template calls `page`; every name that the template uses must be in it.

    Raises:
        jinja2.TemplateError: the template uses a name that is not there.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_read_template),
        # For the whole page: a template that two kinds of pages share is escaped in one of them.
        autoescape=template.endswith(".html.jinja"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"numeric_columns": numeric_columns, "data_uri": data_uri}
    return environment.get_template(template).render(page=page)


def _read_template(name: str) -> str:
    """Read a template as a resource, which works from a wheel and from a zip file too."""
    return (resources.files("cpca_jax") / "templates" / name).read_text(encoding="utf-8")


def numeric_columns(rows: Sequence[Sequence[object]]) -> list[bool]:
    """Return for each column of a table whether most of its cells, empty ones aside, are numbers.

    A number may have an interval, a unit of one sign, a p-value or a remark in brackets behind it.

    Args:
        rows: of cells, all of one length.
    """
    columns = ([str(cell) for cell in column if cell != ""] for column in zip(*rows, strict=True))
    return [
        2 * sum(bool(_NUMBER.fullmatch(cell)) for cell in column) > len(column)
        for column in columns
    ]


def data_uri(png: bytes) -> str:
    """Return a PNG as an address that holds the picture itself."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
