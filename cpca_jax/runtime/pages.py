"""Pages that open anywhere: a template of `cpca_jax/templates` filled with plain data.

The templates hold every sentence and all markup; a page contains its style and its figures.
"""

import base64
import re
from collections.abc import Sequence
from importlib import resources

# Digits and signs, followed by nothing or, in brackets, by a remark, a p-value or a range.
_NUMBER = re.compile(
    r"[+-]?\d([^a-zA-Z]|e[+-]\d)*(\(([a-z ]+|p = .*|[-.\de]+ to [-.\de]+)\))?", re.ASCII
)

# Control characters but for tabs and line feeds, and marks of writing direction.
_STEERING = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]",
)


def render(template: str, page: object) -> str:
    """Return a page as text.

    In HTML (a template called `*.html.jinja`) everything that comes from `page` is escaped.

    Args:
        template: The file name of the template.
        page: The object that the template calls `page`; it must have every name that the template
            uses.

    Raises:
        jinja2.TemplateError: the template uses a name that `page` does not have.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_read_template),
        # This holds for the whole page, so that a part shared by two kinds of pages is escaped in
        # HTML only.
        autoescape=template.endswith(".html.jinja"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"numeric_columns": numeric_columns, "data_uri": data_uri}
    text: str = environment.get_template(template).render(page=page)
    # A name of a file may hold bytes that are no UTF-8, and what steers a terminal or a browser.
    text = text.encode(errors="backslashreplace").decode()
    return _STEERING.sub(lambda one: one[0].encode("unicode_escape").decode(), text)


def _read_template(name: str) -> str:
    """Read a template as a resource, which also works from a wheel and from a zip file."""
    return (resources.files("cpca_jax") / "templates" / name).read_text(encoding="utf-8")


def numeric_columns(rows: Sequence[Sequence[object]]) -> list[bool]:
    """Tell for each column of a table whether most of its cells, ignoring empty ones, are numbers.

    A number may be followed by an interval, a unit of one character, or a p-value or a remark in
    brackets.

    Args:
        rows: The rows of cells, all of one length.
    """
    columns = ([str(cell) for cell in column if cell != ""] for column in zip(*rows, strict=True))
    return [
        2 * sum(bool(_NUMBER.fullmatch(cell)) for cell in column) > len(column)
        for column in columns
    ]


def data_uri(png: bytes) -> str:
    """Return a PNG as a data URI, an address that contains the picture itself."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
