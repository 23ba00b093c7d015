"""Pages are read as a browser reads them, to tell whether a name that others chose does anything in them."""

from html.parser import HTMLParser


class Read(HTMLParser):
    """The text of a page, and its elements with their attributes."""

    def __init__(self, content: str):
        super().__init__()
        self.text, self.elements = "", []
        self.feed(content)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, text):
        self.text += text

    def assert_harmless(self):
        for tag, attributes in self.elements:
            assert tag not in ("script", "iframe", "object", "embed", "form"), (tag, attributes)
            assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
            for name in ("src", "href"):
                assert not attributes.get(name, "").lower().startswith(("javascript", "http")), (tag, attributes)
