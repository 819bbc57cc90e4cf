"""Pages on which a person decides about proposed references (layer L6)."""

from __future__ import annotations

import asyncio
from urllib.parse import urlencode

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from polymode.relabel import Desk
from polymode.web.pages.forms import read_form, reviewer_of
from polymode.web.pages.rendering import list_name, list_part, number_in, render, whole_number
from polymode.web.problems import Problem

PER_PAGE = 20
LISTS: dict[str, tuple[bool | None, ...]] = {
    "undecided": (None,),
    "accepted": (True,),
    "refused": (False,),
    "all": (None, True, False),
}
"""Lists of proposals by what was decided."""
_ACTS: dict[str, bool | None] = {"reference": True, "alias": True, "refuse": False, "undecided": None}


def relabel_page(desk: Desk) -> APIRouter:
    """Routes of the proposals."""
    router = APIRouter()

    @router.get("/relabel")
    async def show_list(request: Request) -> Response:
        show = list_name(request, LISTS, "undecided")
        proposals = await asyncio.to_thread(desk.proposals)
        selection = [one for one in proposals if one.proposal.accepted in LISTS[show]]
        number = whole_number(request, "done", 0, low=0)
        return render(
            request,
            "relabel.html",
            part=list_part(request, selection, PER_PAGE),
            counts={name: sum(one.proposal.accepted in states for one in proposals) for name, states in LISTS.items()},
            show=show,
            page_url=lambda page: f"/relabel?show={show}&page={page}",
            decided=proposals[number - 1] if 0 < number <= len(proposals) else None,
            n_accepted=sum(one.proposal.accepted is True for one in proposals),
            out=desk.out,
        )

    @router.post("/relabel/write")
    async def write(request: Request) -> Response:
        await read_form(request)
        written = await asyncio.to_thread(desk.write, reviewer_of(request))
        return render(request, "relabelled.html", written=written, out=desk.out)

    @router.post("/relabel/{place_text}")
    async def decide(place_text: str, request: Request) -> Response:
        form = await read_form(request)
        by = reviewer_of(request)
        place, act = number_in(place_text), form.get("act")
        if place is None:
            raise Problem(404, "there is no such proposal", fix="go back to the list")
        if act not in _ACTS:
            raise Problem(422, "no such decision", field="act", value=act, allowed=", ".join(_ACTS), fix="choose one")
        # A page cannot show every character; what was left as shown is left as it is.
        answer = None if form.get("answer") == form.get("shown") else form.get("answer")
        alias_of = None
        if act == "alias":
            proposals, number = await asyncio.to_thread(desk.proposals), number_in(form.get("alias_of"))
            references = proposals[place - 1].proposal.references if 0 < place <= len(proposals) else ()
            if number is None or number >= len(references):
                allowed = "a reference of the question"
                raise Problem(422, "no reference is chosen", field="alias_of", allowed=allowed, fix="choose one")
            alias_of = references[number]
        await asyncio.to_thread(
            desk.decide, place, form.get("seen"), by, accepted=_ACTS[act], answer=answer, alias_of=alias_of
        )
        back = {"show": form.get("show", "undecided"), "page": form.get("page", "1"), "done": str(place)}
        return RedirectResponse(f"/relabel?{urlencode(back)}", 303)

    return router
