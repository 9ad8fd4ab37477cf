"""Policies on file, and libraries that are sound or broken in one place."""

from pathlib import Path

from service.settings import Settings

LIBRARY: Path = Settings.model_fields["policies_dir"].default
PAYERS: Path = Settings.model_fields["payers_file"].default
SOUND = Path(__file__).parent / "sound"
BROKEN = Path(__file__).parent / "broken"
