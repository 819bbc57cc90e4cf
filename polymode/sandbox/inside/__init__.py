"""What runs inside the sandbox: a fork server and its children. Standard library only; nothing else is mounted there.

The folder is mounted by itself, so its modules import each other relatively and nothing from the rest of the package.
"""
