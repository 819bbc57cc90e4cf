"""Pages of `polymode serve` for people: ask, review, look at runs, relabel (layer L4).

    site.add_pages       routes, navigation, who may see them
    rendering.render     a template to a response
    forms.read_form      what was posted, if it comes from a form of ours
    sessions.Sessions    who signed in

Plain HTML from templates, without any script, so that the content policy forbids all of them; text of users and models
is only ever inserted as text. Removing this package removes the pages and nothing else.
"""
