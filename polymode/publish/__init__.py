"""Models and data sets with their cards, as folders that can be given away (layer L5).

    run, evaluations -> package_model -> folder with whole weights, README.md, recipe.yaml -> push -> a repository
    relabelled data  -> package_data  -> folder with data.jsonl, README.md                  -> push -> a repository

Making the folder sends nothing. Only `push` does, and only where a person asked for it.
"""

from polymode.publish.data import package_data
from polymode.publish.model import package_model
from polymode.publish.repository import check_name, push

__all__ = ["check_name", "package_data", "package_model", "push"]
