"""What verl loads by the entry point ``polymode`` of its group ``verl.plugins``, in every process."""

from polymode.integrations.verl import register

register()
