"""Place of the records by the settings, for the service and for commands."""

from __future__ import annotations

from service.decision_log.anchors import Anchors
from service.decision_log.recorder import RecordsPlace
from service.settings import Settings

_FORMER_FOLDER = "spool"
_HOUR = 3600


def records_place(settings: Settings, *, in_log: bool = True) -> RecordsPlace:
    """The place of the records, and of what a former version may have left.

    `in_log`: anchors are log lines too.
    """
    folder = settings.records_dir
    return RecordsPlace(
        folder,
        settings.records_key_file,
        (folder.parent / _FORMER_FOLDER,),
        settings.records_keep_hours * _HOUR,
        Anchors(settings.records_anchor, in_log=in_log),
    )
