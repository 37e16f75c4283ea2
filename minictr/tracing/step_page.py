"""The page of one training step."""


def page_html(data):
    """Return the page as text."""
    import json

    return json.dumps(data)
