"""Pages of `polymode serve` for people: ask, review, browse runs, compare, relabel (layer L6).

`site.PAGES` lists every page; `forms.read_form` reads what was posted, `rendering.render` makes a response. Plain HTML
from templates, without any script, so that the content policy forbids all of them; text of users and models is only
ever inserted as text. Removing this package removes the pages and nothing else.
"""
