"""Thin adapters to other people's trainers and evaluators (layer L4). Nothing in polymode imports them."""
