"""A reader of pages: sections with their paragraphs, tables, lists and pictures."""

import dataclasses
from html.parser import HTMLParser

_WITHOUT_END = {"meta", "img"}


@dataclasses.dataclass
class Section:
    heading: str
    paragraphs: list = dataclasses.field(default_factory=list)
    items: list = dataclasses.field(default_factory=list)
    tables: list = dataclasses.field(default_factory=list)
    pictures: list = dataclasses.field(default_factory=list)

    @property
    def rows(self):
        """The rows of the first table without its heads."""
        return self.tables[0][1:]


class _Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.sections, self.open, self.words = [], [], ""

    def handle_starttag(self, tag, attrs):
        if tag not in _WITHOUT_END:
            self.open.append(tag)
        if tag == "table":
            self.sections[-1].tables.append([])
        elif tag == "tr":
            self.sections[-1].tables[-1].append([])
        elif tag == "img":
            self.sections[-1].pictures.append(dict(attrs))
        if tag in {"h1", "h2", "p", "li", "td", "th"}:
            self.words = ""

    def handle_data(self, data):
        self.words += data

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> within {self.open}"
        self.open.pop()
        words = " ".join(self.words.split())
        if tag in {"h1", "h2"}:
            self.sections.append(Section(words))
        elif tag == "p":
            self.sections[-1].paragraphs.append(words)
        elif tag == "li":
            self.sections[-1].items.append(words)
        elif tag in {"td", "th"}:
            self.sections[-1].tables[-1][-1].append(words)


def read(page):
    """Return the sections from the title down; every tag must be closed in its place."""
    reader = _Reader()
    reader.feed(page)
    reader.close()
    assert not reader.open, f"never closed: {reader.open}"
    return reader.sections


def section(page, heading):
    """Return the only section whose heading begins with this text."""
    (found,) = [one for one in read(page) if one.heading.startswith(heading)]
    return found
