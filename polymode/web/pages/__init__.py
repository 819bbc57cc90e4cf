"""Pages of `polymode serve` for people: ask, review, browse runs, compare, relabel (layer L6).

    site.PAGES           every page: name, label, routes, and what it needs
    rendering.render     a template to a response
    forms.read_form      what was posted, if it comes from a form of this server
    sessions.Sessions    who signed in

Plain HTML from templates, without any script, so that the content policy forbids all of them; text of users and models
is only ever inserted as text. Removing this package removes the pages and nothing else.
"""
