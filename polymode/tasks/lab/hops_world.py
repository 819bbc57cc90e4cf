"""The world of the lab's hops: the people, the places that employ them, and the towns of the places. Fictitious.

This is what is known before any fact is stated, so it is the prior of every posterior. Towns and places are of
eight kinds; a place lies most likely in a town of its own kind, and more likely in a large one.
"""

from __future__ import annotations

import numpy as np

PEOPLE: tuple[str, ...] = (
    *("anna", "ben", "carl", "dora", "ed", "fay", "gus", "hana", "ivan", "jane", "kim", "leo"),
    *("mia", "ned", "ola", "pia", "raj", "sue", "tom", "uma", "vic", "wes", "yan", "zoe"),
)

_TOWNS: dict[str, tuple[str, ...]] = {
    "coast": ("dover", "whitby", "poole", "brixham", "cromer", "bude"),
    "hills": ("keswick", "buxton", "malham", "hawes", "bakewell", "matlock"),
    "river": ("henley", "marlow", "bedford", "bewdley", "goring", "ely"),
    "ore": ("redruth", "camborne", "barnsley", "wigan", "corby", "consett"),
    "field": ("oakham", "louth", "thirsk", "evesham", "ledbury", "spalding"),
    "study": ("oxford", "durham", "exeter", "lampeter", "keele", "warwick"),
    "isle": ("lerwick", "ventnor", "portree", "stromness", "tobermory", "castlebay"),
    "spa": ("bath", "harrogate", "malvern", "epsom", "droitwich", "cheltenham"),
}
_TOWN_SIZES = (6, 3, 2, 1, 1, 1)
"""How often a place of its kind lies in each of a kind's towns, in their order above."""

_PLACES: dict[str, tuple[str, ...]] = {
    "coast": ("harbour", "cannery", "lighthouse", "aquarium"),
    "hills": ("sawmill", "lodge", "ropeway", "observatory"),
    "river": ("mill", "boatyard", "brewery", "ferry"),
    "ore": ("mine", "foundry", "smelter", "railway"),
    "field": ("farm", "market", "orchard", "stable"),
    "study": ("college", "library", "museum", "theatre"),
    "isle": ("distillery", "smokehouse", "lookout", "croft"),
    "spa": ("hotel", "infirmary", "bathhouse", "bandstand"),
}
_PLACE_SIZES = (4, 2, 1, 1)
"""How many people each of a kind's places employs, in their order above."""

STRAY = 0.15
"""Share of places that lie anywhere, every town being equally likely."""

TOWNS: tuple[str, ...] = tuple(town for towns in _TOWNS.values() for town in towns)
PLACES: tuple[str, ...] = tuple(place for places in _PLACES.values() for place in places)

P_PLACE: np.ndarray = np.tile(_PLACE_SIZES, len(_PLACES)) / (len(_PLACES) * sum(_PLACE_SIZES))
"""P(person works at place), shape (places,), the same for everyone."""


def p_towns() -> np.ndarray:
    """P(town | place), shape (places, towns)."""
    own_kind = np.kron(np.eye(len(_TOWNS)), np.array(_TOWN_SIZES) / sum(_TOWN_SIZES))  # (kinds, towns)
    return (1 - STRAY) * np.repeat(own_kind, len(_PLACE_SIZES), axis=0) + STRAY / len(TOWNS)
